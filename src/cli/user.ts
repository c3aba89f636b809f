import type { Command } from "commander";
import { type GetUserRequest, type User, UserServiceService } from "../../generated/grey/user/v1/user_service.js";
import { assertPresent } from "../base/assert.js";
import {
  ABOUT_REQUEST_ID,
  type ChangeOptions,
  examples,
  limitOption,
  metadataOption,
  requestIdOption,
} from "./options.js";
import { collect, moreLine } from "./paging.js";
import { requestFields, showMetadata } from "./render.js";
import { resolveUser } from "./resolve.js";
import { showTime, timeCell } from "./time.js";
import { print, printReply, type CommandContext, withContext } from "./command-context.js";
import { renderFields, renderTable } from "./table.js";

interface CreateOptions extends ChangeOptions {
  readonly name: string;
  readonly email: string;
}

export function addUserCommands(program: Command): void {
  const user = program.command("user").description("create, show and list users");

  user
    .command("create")
    .description("create a user")
    .requiredOption("--name <name>", "the display name")
    .requiredOption("--email <email>", "the email; unique among users, ignoring case")
    .addOption(metadataOption())
    .addOption(requestIdOption())
    .addHelpText(
      "after",
      examples(
        'user create --name "Ada Lovelace" --email ada@example.com',
        'user create --name "Ada Lovelace" --email ada@example.com --metadata plan=pro origin=web',
      ) + ABOUT_REQUEST_ID,
    )
    .action((options: CreateOptions, command: Command) =>
      withContext(command, async (context) => {
        const requestId = context.requestId(options.requestId);
        const { name, email, metadata = {} } = options;
        const reply = await context.call(UserServiceService.createUser, { requestId, name, email, metadata });
        if (context.json) printReply(UserServiceService.createUser, reply);
        else
          print(
            renderUser(assertPresent(reply.user, "user"), requestFields(requestId, reply.replayed, reply.journalIndex)),
          );
      }),
    );

  user
    .command("get <user>")
    .description("show a user, by id or email")
    .addHelpText("after", examples("user get ada@example.com", "user get 01890a5d-ac96-774b-bcce-b302099a8057 --json"))
    .action((userKey: string, _options: object, command: Command) =>
      withContext(command, async (context) => {
        const reply = await context.call(UserServiceService.getUser, await readUserSelector(userKey, context));
        if (context.json) printReply(UserServiceService.getUser, reply);
        else print(renderUser(assertPresent(reply.user, "user")));
      }),
    );

  user
    .command("list")
    .description("list users, oldest first")
    .addOption(limitOption())
    .addHelpText("after", examples("user list", "user list --limit 1000 --json"))
    .action((options: { limit: number }, command: Command) =>
      withContext(command, async (context) => {
        const page = await collect<User>(options.limit, async (page) => {
          const reply = await context.call(UserServiceService.listUsers, page);
          return { items: reply.users, nextPageToken: reply.nextPageToken };
        });
        if (context.json)
          printReply(UserServiceService.listUsers, { users: page.items, nextPageToken: page.nextPageToken });
        else print(renderUsers(page.items), moreLine(page, "raise --limit"));
      }),
    );
}

async function readUserSelector(userKey: string, context: CommandContext): Promise<GetUserRequest> {
  if (userKey.includes("@")) return { by: { $case: "email", value: userKey } };
  return { by: { $case: "id", value: await resolveUser(userKey, context) } };
}

function renderUser(user: User, more: readonly (readonly [string, string])[] = []): string {
  const created = showTime(user.createTime);
  const updated = showTime(user.updateTime);
  return renderFields([
    ["user", user.id],
    ["name", user.name],
    ["email", user.email],
    ["metadata", showMetadata(user.metadata)],
    ["created", created],
    ["updated", updated === created ? "" : updated],
    ["deleted", showTime(user.deleteTime)],
    ...more,
  ]);
}

function renderUsers(users: readonly User[]): string {
  if (users.length === 0) return "No users found. See `grey user create --help`.";
  return renderTable(
    [{ title: "user", kind: "id" }, { title: "name", kind: "text" }, { title: "email" }, { title: "created", drop: 1 }],
    users.map((user) => [user.id, user.name, user.email, timeCell(user.createTime)]),
  );
}
