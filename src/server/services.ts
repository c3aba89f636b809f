import { AlertServiceService } from "../../generated/grey/alert/v1/alert_service.js";
import { LedgerServiceService } from "../../generated/grey/ledger/v1/ledger_service.js";
import { ScheduleServiceService } from "../../generated/grey/schedule/v1/schedule_service.js";
import { TransactionServiceService } from "../../generated/grey/transaction/v1/transaction_service.js";
import { UserServiceService } from "../../generated/grey/user/v1/user_service.js";
import { WalletServiceService } from "../../generated/grey/wallet/v1/wallet_service.js";
import type { Config } from "../config/config.js";
import type { Database } from "../db/database.js";
import { InstallationEntity } from "../entities/installation.js";
import { createFindCurrency } from "../ledger/currency/find-currency.js";
import type { Engine } from "../ledger/post/engine.js";
import { createJournalTail } from "../ledger/watch/journal-tail.js";
import { bindMethods, type BoundService, type Methods } from "../rpc/methods.js";
import type { Pipeline } from "../rpc/pipeline.js";
import { createAlertService } from "../services/alert/alert-service.js";
import { createLedgerService } from "../services/ledger/ledger-service.js";
import { createScheduleService } from "../services/schedule/schedule-service.js";
import { createPageTokens } from "../services/shared/page-tokens.js";
import { effectiveWindow } from "../services/transaction/effective-window.js";
import { createTransactionService } from "../services/transaction/transaction-service.js";
import { createUserService } from "../services/user/user-service.js";
import { createWalletService } from "../services/wallet/wallet-service.js";

/** The parts that services are created from, which exist once the database has been reached. */
export type ServiceParts = Awaited<ReturnType<typeof createServiceParts>>;

export async function createServiceParts(database: Database, engine: Engine, config: Config) {
  const { secret } = await database.dataSource.manager.findOneByOrFail(InstallationEntity, { id: 1 });
  return {
    database,
    engine,
    tokens: createPageTokens(secret),
    window: effectiveWindow(config),
    watching: { tail: createJournalTail(database), progressMs: config.GREY_WATCH_PROGRESS_MS },
    findCurrency: await createFindCurrency(database),
  };
}

/** Every service of Grey. */
const SERVICES = [
  service(UserServiceService, ({ database, tokens }) => createUserService(database, tokens)),
  service(WalletServiceService, ({ database, tokens, watching }) => createWalletService(database, tokens, watching)),
  service(TransactionServiceService, ({ tokens, watching, findCurrency, ...posting }) =>
    createTransactionService(posting, tokens, watching, findCurrency),
  ),
  service(LedgerServiceService, ({ database, tokens, watching }) =>
    createLedgerService(database, tokens, watching.progressMs),
  ),
  service(ScheduleServiceService, ({ database, tokens }) => createScheduleService(database, tokens)),
  service(AlertServiceService, ({ database, tokens }) => createAlertService(database, tokens)),
];

/** The services' full names, such as `grey.user.v1.UserService`. */
export const SERVICE_NAMES: readonly string[] = SERVICES.map(({ name }) => name);

/** Binds all services. They answer DATABASE_UNAVAILABLE until they are given their parts. */
export function bindServices(pipeline: Pipeline): {
  readonly bound: readonly BoundService[];
  readonly open: (parts: ServiceParts) => void;
} {
  const bindings = SERVICES.map(({ bind }) => bind(pipeline));
  return {
    bound: bindings.map(({ bound }) => bound),
    open: (parts) => {
      for (const { open } of bindings) open(parts);
    },
  };
}

function service<Definition extends Readonly<Record<keyof Definition, { readonly path: string }>>>(
  definition: Definition,
  create: (parts: ServiceParts) => Methods<Definition>,
) {
  return {
    name: readServiceName(definition),
    bind: (pipeline: Pipeline) => {
      let methods: Methods<Definition> | undefined;
      return {
        bound: bindMethods(definition, () => methods, pipeline),
        open: (parts: ServiceParts): void => {
          methods = create(parts);
        },
      };
    },
  };
}

/** Reads the service's name from a path of its methods, such as `/grey.user.v1.UserService/GetUser`. */
function readServiceName(definition: Readonly<Record<string, { readonly path: string }>>): string {
  const [, name = ""] = Object.values(definition)[0]?.path.split("/") ?? [];
  return name;
}
