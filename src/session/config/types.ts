/** @file The types of the sections: what a user may write, and what it is after defaults. */
import type { Answer } from "../../data/index.ts";
import type { Json, JsonObject } from "../../formats/index.ts";
import type { Adapter } from "../adapters.ts";
import type { sections } from "./sections.ts";

/** A class by name with its arguments, as published files write optimisers and schedules; the names stay as they are. */
export interface ClassNode {
  readonly classPath: string;
  readonly initArgs: JsonObject;
}

/** What the scalar kinds of the table hold. */
export interface Scalars {
  text: string;
  /** Any integer. */
  integer: number;
  /** An integer from 1. */
  count: number;
  /** An integer from −1, which means all. */
  limit: number;
  number: number;
  positive: number;
  flag: boolean;
  /** From 0 to below 1. */
  share: number;
  /** How adapters begin. */
  loraStart: boolean | "gaussian";
  /** What can only be off, in whatever way that is said. */
  off: false | 0 | readonly never[] | Readonly<Record<string, never>>;
  texts: readonly string[];
  /** One, or several. */
  names: string | readonly string[];
  integers: readonly number[];
  answers: readonly Answer[];
  /** Anything by name; names stay as they are. */
  mapping: JsonObject;
  words: Readonly<Record<string, string>>;
  ids: Readonly<Record<string, number>>;
  counts: Readonly<Record<string, number>>;
  positives: Readonly<Record<string, number>>;
  optimizer: ClassNode;
  schedule: ClassNode;
  callbacks: readonly ClassNode[];
  loggers: readonly ClassNode[];
  /** Whether, or how often. */
  times: boolean | number;
  /** Whatever JSON holds. */
  anything: Json;
  combinations: readonly (readonly string[])[];
  /** The name of a module or data module. */
  component: string;
  seed: number | boolean;
}

type Sections = typeof sections;
/** The name of a section of the table. */
export type SectionName = keyof Sections;

type Own<S extends SectionName> = Sections[S]["fields"];
type Fields<S extends SectionName> = Sections[S] extends { readonly includes: infer I extends SectionName }
  ? Own<I> & Own<S>
  : Own<S>;

type ValueOf<F> = F extends { readonly oneOf: readonly (infer Word)[] }
  ? Word
  : F extends { readonly kind: `${infer S extends SectionName}[]` }
    ? readonly Config<S>[]
    : F extends { readonly kind: infer S extends SectionName }
      ? Config<S>
      : F extends { readonly kind: infer K extends keyof Scalars }
        ? Scalars[K]
        : Json;
type InputOf<F> = F extends { readonly kind: `${infer S extends SectionName}[]` }
  ? readonly ConfigInput<S>[]
  : F extends { readonly kind: infer S extends SectionName }
    ? ConfigInput<S>
    : ValueOf<F>;
type Absent<F> = F extends { readonly default: null } ? null : never;

/** A section with its defaults filled in. */
export type Config<S extends SectionName> = {
  readonly [K in keyof Fields<S>]: ValueOf<Fields<S>[K]> | Absent<Fields<S>[K]>;
};
/** A section as it is written: whatever differs from the defaults. */
export type ConfigInput<S extends SectionName> = {
  readonly [K in keyof Fields<S>]?: InputOf<Fields<S>[K]> | Absent<Fields<S>[K]>;
};

export type SharedConfig = Config<"SharedConfig">;
export type DataModuleConfig = Config<"DataModuleConfig">;
export type ModuleConfig = Config<"ModuleConfig">;
export type RunConfig = Config<"RunConfig">;
export type TrainerConfig = Config<"TrainerConfig">;
export type GenerationConfig = Config<"GenerationConfig">;
export type PromptConfig = Config<"PromptConfig">;

/** A session's configuration, resolved. */
export interface SessionConfig {
  readonly adapterCtx: readonly Adapter[];
  readonly datamoduleCfg: DataModuleConfig;
  readonly moduleCfg: ModuleConfig;
  readonly runCfg: RunConfig;
  readonly trainer: TrainerConfig;
  readonly seed: number | null;
}

/** One row of the table, as code that goes through it sees it. */
export interface Field {
  readonly kind?: string;
  readonly oneOf?: readonly string[];
  readonly default: Json | object;
  readonly about: string;
  readonly effect?: "none";
}
