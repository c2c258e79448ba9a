/** @file The commands. Nothing heavy is imported here: each command loads what it needs when it runs. */
import { buildApplication, buildRouteMap, text_en, type Application } from "@stricli/core";
import type { CliContext } from "./context.ts";
import { describeFailure, describeUsageFault, exitCodeOf } from "./failure.ts";
import { cache, models, push, saesCommand } from "./routes/hub.ts";
import { activations, generate, info, saeForward, tokenize } from "./routes/models.ts";
import { analyze, demo, exportStore, report } from "./routes/runs.ts";
import { ops, registry, run } from "./routes/sessions.ts";
import { cacheActivations, trainSae } from "./routes/training.ts";

/** The application. With `debug`, failures show their stack. */
export function buildCli(debug: boolean): Application<CliContext> {
  const routes = {
    analyze,
    export: exportStore,
    report,
    activations,
    saeForward,
    generate,
    tokenize,
    info,
    run,
    registry,
    ops,
    cache,
    push,
    models,
    saes: saesCommand,
    trainSae,
    cacheActivations,
    demo,
  };
  return buildApplication(
    buildRouteMap({
      routes,
      docs: { brief: "Open language models up: hooks, sparse autoencoders, exact attribution" },
    }),
    {
      name: "interpretune",
      versionInfo: { getCurrentVersion: async () => (await import("../formats/packageVersion.ts")).packageVersion() },
      scanner: { caseStyle: "allow-kebab-for-camel" },
      documentation: { onlyRequiredInUsageLine: true },
      determineExitCode: exitCodeOf,
      localization: {
        text: {
          ...text_en,
          exceptionWhileParsingArguments: describeUsageFault,
          exceptionWhileLoadingCommandFunction: (error) => describeFailure(error, debug),
          exceptionWhileRunningCommand: (error) => describeFailure(error, debug),
          noCommandRegisteredForInput: (what) => `error: ${text_en.noCommandRegisteredForInput(what)}`,
        },
      },
    },
  );
}
