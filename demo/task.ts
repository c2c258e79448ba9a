/**
 * @file A small world for the demo: short passages, and whether they imply a sentence. It has the shape of RTE (premise,
 * hypothesis, label 0: entailment, 1: not), and every example follows from rules and a seed. The rules are those of
 * natural logic (MacCartney and Manning 2007; Geiger et al. 2020, arXiv 2004.14623): poodles are dogs are animals, Paris
 * is in France is in Europe; who saw a poodle saw a dog, who did not see a dog saw no poodle, and what holds for all dogs
 * holds for each. Sentences that have nothing to do with the question distract from it.
 */
import { uniformAt } from "../src/graph/index.ts";

export type Family = "event" | "quantifier" | "member";
export type Split = "train" | "validation" | "test";

/** One question. */
export interface Example {
  readonly premise: string;
  readonly hypothesis: string;
  /** 0: the premise implies the hypothesis; 1: it does not. */
  readonly label: 0 | 1;
  readonly family: Family;
}

/** Each kind with what is of that kind: two levels below the top. */
interface Taxonomy {
  readonly top: string;
  readonly kinds: Readonly<Record<string, readonly string[]>>;
}

const list = (text: string): readonly string[] => text.split(" ");

export const animals: Taxonomy = {
  top: "animal",
  kinds: { dog: list("poodle beagle boxer"), cat: list("persian bobtail ragdoll"), bird: list("robin owl crow") },
};
export const places: Taxonomy = {
  top: "Europe",
  kinds: { France: list("Paris Lyon"), Italy: list("Rome Milan"), Spain: list("Madrid Seville") },
};
export const names: readonly string[] = list("Anna Ben Carl Dora Emil Fay Gus Hana");
/** Animals with a name. */
export const pets: readonly string[] = list("Rex Milo Luna Bella Coco");
export const quantifiers: readonly string[] = list("All Some No");
export const traits: readonly string[] = list("quiet brave clever hungry calm");
/** What people did, and did not do. */
export const verbs: readonly (readonly [does: string, doesNot: string])[] = [
  ["saw", "did not see"],
  ["fed", "did not feed"],
  ["heard", "did not hear"],
];

/** All words of a taxonomy, the top last. */
export const wordsOf = ({ top, kinds }: Taxonomy): readonly string[] => [
  ...Object.entries(kinds).flatMap(([kind, members]) => [...members, kind]),
  top,
];

/** A word and everything above it. */
function upwards({ top, kinds }: Taxonomy, word: string): string[] {
  const kind = Object.keys(kinds).find((each) => each === word || kinds[each]!.includes(word));
  return [...new Set([word, ...(kind === undefined ? [] : [kind]), top])];
}

/** A word and everything below it. */
const downwards = (taxonomy: Taxonomy, word: string): string[] =>
  wordsOf(taxonomy).filter((other) => upwards(taxonomy, other).includes(word));

/** A stream of random choices: a function of the seed and of how many were made before. */
class Dice {
  readonly #seed: number;
  #count = 0;
  constructor(seed: number) {
    this.#seed = seed;
  }
  below(n: number): number {
    return Math.floor(uniformAt(this.#seed, this.#count++) * n);
  }
  heads(): boolean {
    return this.below(2) === 0;
  }
  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }
  /** Another than this one. */
  other<T>(from: readonly T[], than: T): T {
    return this.pick(from.filter((each) => each !== than));
  }
  shuffled<T>(from: readonly T[]): T[] {
    const all = [...from];
    for (let i = all.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [all[i], all[j]] = [all[j]!, all[i]!];
    }
    return all;
  }
}

/** Facts, the sentences they imply, and near misses: sentences that go wrong in one place. */
interface World {
  readonly facts: readonly string[];
  readonly implied: readonly string[];
  readonly miss: () => string;
}

const article = (noun: string): string => (/^[aeio]/.test(noun) ? "an" : "a");
const strangers = (taxonomy: Taxonomy, known: readonly string[]): string[] =>
  wordsOf(taxonomy).filter((word) => !known.includes(word));

/** An animal and a place. */
type Spot = readonly [what: string, where: string];

/** The spots of which the same holds, drawn and all; and, where there are any, those that are wrong in one of the two. */
interface Scope {
  readonly right: () => Spot;
  readonly all: readonly Spot[];
  readonly wrong: readonly (() => Spot)[];
}

function scopeOf(dice: Dice, along: typeof upwards, [what, where]: Spot): Scope {
  const [whats, wheres] = [along(animals, what), along(places, where)];
  const [others, elsewhere] = [strangers(animals, whats), strangers(places, wheres)];
  const drawn = (from: readonly string[], at: readonly string[]): (() => Spot) => {
    return () => [dice.pick(from), dice.pick(at)];
  };
  return {
    right: drawn(whats, wheres),
    all: whats.flatMap((each) => wheres.map((place): Spot => [each, place])),
    wrong: [
      ...(others.length > 0 ? [drawn(others, wheres)] : []),
      ...(elsewhere.length > 0 ? [drawn(whats, elsewhere)] : []),
    ],
  };
}

/** Somebody did, or did not do, something to an animal somewhere. */
function event(dice: Dice): World {
  const who = dice.pick(names);
  const verb = dice.pick(verbs);
  const spot: Spot = [dice.pick(wordsOf(animals)), dice.pick(wordsOf(places))];
  const form = dice.below(2); // 0: did, 1: did not
  const { right, all, wrong } = scopeOf(dice, form === 0 ? upwards : downwards, spot);
  const did = verb[form]!;
  const say = (action: string, [what, where]: Spot, subject = who): string =>
    `${subject} ${action} ${article(what)} ${what} in ${where}.`;
  const misses = [
    () => say(verb[1 - form]!, right()),
    () => say(dice.other(verbs, verb)[form]!, right()),
    () => say(did, right(), dice.other(names, who)),
    ...wrong.map((draw) => () => say(did, draw())),
  ];
  return {
    facts: [say(did, spot)],
    implied: all.map((each) => say(did, each)),
    miss: () => dice.pick(misses)(),
  };
}

/** What holds for all, some or no animals of a kind somewhere: of all and none it holds further down, of some further up. */
function quantified(dice: Dice): World {
  const quantifier = dice.pick(quantifiers);
  const spot: Spot = [dice.pick(wordsOf(animals)), dice.pick(wordsOf(places))];
  const trait = dice.pick(traits);
  const { right, all, wrong } = scopeOf(dice, quantifier === "Some" ? upwards : downwards, spot);
  const say = (how: string, [what, where]: Spot, are = trait): string => `${how} ${what}s in ${where} are ${are}.`;
  // Nobody asks whether what holds for all holds for some.
  const unlike = quantifier === "All" ? ["No"] : quantifiers.filter((each) => each !== quantifier);
  const misses = [
    () => say(dice.pick(unlike), right()),
    () => say(quantifier, right(), dice.other(traits, trait)),
    ...wrong.map((draw) => () => say(quantifier, draw())),
  ];
  return {
    facts: [say(quantifier, spot)],
    implied: all.map((each) => say(quantifier, each)),
    miss: () => dice.pick(misses)(),
  };
}

/** A rule about a kind, and a pet that is, or is not, of that kind. */
function member(dice: Dice): World {
  const rule = dice.pick(["All", "No"]);
  const [kind, trait, pet] = [dice.pick(wordsOf(animals)), dice.pick(traits), dice.pick(pets)];
  const within = downwards(animals, kind);
  const outside = strangers(animals, within);
  const holds = outside.length === 0 || dice.heads();
  const animal = dice.pick(holds ? within : outside);
  const say = (positive: boolean, what = trait, who = pet): string => `${who} is ${positive ? "" : "not "}${what}.`;
  const positive = rule === "All";
  const misses = [
    () => say(!positive),
    () => say(positive, dice.other(traits, trait)),
    () => say(positive, trait, dice.other(pets, pet)),
  ];
  return {
    facts: [`${rule} ${kind}s are ${trait}.`, `${pet} is ${article(animal)} ${animal}.`],
    implied: holds ? [say(positive)] : [],
    miss: () => (holds ? dice.pick(misses)() : say(dice.heads())),
  };
}

const families: { readonly [F in Family]: (dice: Dice) => World } = { event, quantifier: quantified, member };

const taxonomies = [animals, places];
const taxonomyOf = (word: string): Taxonomy | undefined => taxonomies.find((each) => wordsOf(each).includes(word));

/** What a text is about: names, traits, and animals and places with all that is above and below them, but for the tops. */
function topicsOf(text: string): Set<string> {
  const found = new Set<string>();
  for (const given of text.split(/\W+/)) {
    const word = taxonomyOf(given) === undefined ? given.replace(/s$/, "") : given;
    const taxonomy = taxonomyOf(word);
    if (taxonomy === undefined) {
      if ([...names, ...pets, ...traits].includes(given)) found.add(given);
    } else if (word !== taxonomy.top)
      for (const near of [...upwards(taxonomy, word), ...downwards(taxonomy, word)])
        if (near !== taxonomy.top) found.add(near);
  }
  return found;
}

/** A sentence that has nothing to do with the question; sometimes there is none at hand. */
function distraction(dice: Dice, question: ReadonlySet<string>): readonly string[] {
  for (let tries = 0; tries < 10; tries++) {
    const { facts } = families[dice.pick(Object.keys(families) as Family[])](dice);
    const sentence = dice.pick(facts);
    const tops = taxonomies.some(({ top }) => sentence.includes(top));
    if (!tops && ![...topicsOf(sentence)].some((topic) => question.has(topic))) return [sentence];
  }
  return [];
}

/** FNV-1a: where a question belongs depends on what it is about, not on the order in which it was made. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return (h ^ (h >>> 15)) >>> 0;
}

/** The split of a world: no two splits ask about the same facts. What distracts may come from any. */
function splitOf({ facts }: World): Split {
  const at = hash([...facts].sort().join(" ")) % 20;
  return at === 0 ? "validation" : at === 1 ? "test" : "train";
}

/** A passage with questions about it. */
export interface Passage {
  readonly premise: string;
  readonly family: Family;
  readonly questions: readonly Pick<Example, "hypothesis" | "label">[];
  /** All that it implies, as far as anybody asks. */
  readonly implied: readonly string[];
}

/**
 * Passages of a split, one after the other: families in turn, the questions of each implied as often as not (but where
 * nothing is implied).
 */
export function* passages(split: Split, seed: number, questions: number): Generator<Passage> {
  const order = Object.keys(families) as Family[];
  const dice = new Dice(seed);
  for (let i = 0; ;) {
    const family = order[i % order.length]!;
    const world = families[family](dice);
    const { facts, implied, miss } = world;
    const first = Math.floor(i / order.length) % 2 === 0 ? 0 : 1;
    if (splitOf(world) !== split || (first === 0 && implied.length === 0)) continue;
    const asked = Array.from({ length: questions }, (_, q) => {
      const label: 0 | 1 = (q === 0 ? first : dice.below(2)) === 0 && implied.length > 0 ? 0 : 1;
      return { hypothesis: label === 0 ? dice.pick(implied) : miss(), label };
    });
    const topics = topicsOf([...facts, ...asked.map(({ hypothesis }) => hypothesis)].join(" "));
    const extra = Array.from({ length: dice.below(3) }, () => distraction(dice, topics)).flat();
    const told = dice.shuffled([...facts.map(() => undefined), ...extra]);
    const rest = [...facts];
    yield { premise: told.map((other) => other ?? rest.shift()!).join(" "), family, questions: asked, implied };
    i++;
  }
}

/** One question about each passage of a split. */
export function* stream(split: Split, seed: number): Generator<Example> {
  for (const { premise, family, questions } of passages(split, seed, 1)) yield { premise, family, ...questions[0]! };
}

/**
 * The first examples of a split, all different.
 * @example
 * take("test", 7, 3).map(({ premise, hypothesis, label }) => `${premise} ${hypothesis} ${label}`);
 */
export function take(split: Split, seed: number, n: number): Example[] {
  const made = new Map<string, Example>();
  for (const example of stream(split, seed)) {
    made.set(`${example.premise} ${example.hypothesis}`, example);
    if (made.size === n) break;
  }
  return [...made.values()];
}
