/** @file The moments of a session: who acts at each, in which order, and who must. */
import type { ModuleConfig } from "./config/types.ts";
import { SessionError } from "./errors.ts";
import type { LifecycleHook } from "./protocol.ts";
import type { Log } from "./log.ts";

/** Something beside the two sides that acts at the moments of a session, such as a profiler. */
export interface Extension {
  readonly name: string;
  /** When the session is made, before the model is. */
  readonly connect?: (session: { readonly cfg: ModuleConfig; readonly experimentFolder: string }) => void;
  readonly hooks: { readonly [H in LifecycleHook]?: () => void | Promise<void> };
}

/** Somebody who may act: a side of the session or an extension. */
export interface Actor {
  readonly role: "datamodule" | "module" | "extension";
  readonly name: string;
  readonly hooks: object;
}

/** What the log says before a hook; others are "Running <hook>". */
const messages: { readonly [H in LifecycleHook]?: string } = {
  prepareData: "Preparing data",
  setup: "Setting up",
  configureOptimizers: "Configuring optimizers",
  onSessionEnd: "Ending session",
};

/** Roles that must have a hook; elsewhere hooks are optional. */
const required: { readonly [H in LifecycleHook]?: readonly Actor["role"][] } = {
  prepareData: ["datamodule"],
  setup: ["datamodule", "module"],
};

/**
 * Calls one hook of one actor, after saying so in the log as "<message>: <name>".
 * @throws SessionError when the hook is missing and not optional
 */
export async function callHook(
  actor: Actor,
  hook: LifecycleHook,
  logger: Log,
  ...args: readonly unknown[]
): Promise<unknown> {
  const found: unknown = Reflect.get(actor.hooks, hook);
  if (typeof found !== "function") {
    if (required[hook]?.includes(actor.role) !== true) return undefined;
    throw new SessionError(`the ${actor.role} has no ${hook}`, {
      code: "session/hook",
      where: actor.name,
      expected: `a method ${hook}`,
      hint: "what defineModule and defineDataModule compose has it",
    });
  }
  logger.debug(`${messages[hook] ?? `Running ${hook}`}: ${actor.name}`);
  return (await Reflect.apply(found, actor.hooks, args)) as unknown;
}
