// A process that offers load: takes a plan over IPC, or as JSON on the command line, and gives the result the same way.
import { offerLoad } from "./load.js";
import type { LoadPlan } from "./load-plan.js";

const [argument] = process.argv.slice(2);
if (argument !== undefined) {
  console.log(JSON.stringify(await offerLoad(JSON.parse(argument) as LoadPlan)));
} else {
  // Nobody waits for the result any more.
  process.once("disconnect", () => process.exit(1));
  process.once("message", (plan: LoadPlan) => {
    offerLoad(plan).then(
      (result) => process.send?.({ result }, () => process.exit(0)),
      (error: unknown) => process.send?.({ error: String(error) }, () => process.exit(1)),
    );
  });
}
