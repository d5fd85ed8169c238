/** What the import benchmark pulls, and what is in the repository before. */
import { IMAGES } from './images.ts';

export type ScenarioName = 'single' | 'chunked' | 'check' | 'agent' | 'update' | 'derived';

export interface Scenario {
  readonly title: string;
  /** Name and tag in the registry. */
  readonly image: string;
  /** The scenario whose repository it goes on with; without, a new repository. */
  readonly after?: ScenarioName;
  /** Times per run: more for what is over in an instant. */
  readonly repetitions: number;
}

/** In the order of their runs: what goes on with a repository stands after what fills it, `update` after `check`. */
export const SCENARIOS: Readonly<Record<ScenarioName, Scenario>> = {
  single: { title: 'cold, single layer', image: IMAGES.single, repetitions: 1 },
  chunked: { title: 'cold, 60 layers', image: IMAGES.chunked, repetitions: 1 },
  check: { title: 'nothing changed', image: IMAGES.chunked, after: 'chunked', repetitions: 5 },
  agent: { title: 'nothing changed, agent', image: IMAGES.chunked, after: 'chunked', repetitions: 3 },
  update: { title: 'kernel-only update', image: IMAGES.update, after: 'chunked', repetitions: 1 },
  derived: { title: 'cold, 60 + 3 derived', image: IMAGES.derived, repetitions: 1 },
};

export const SCENARIO_NAMES = Object.keys(SCENARIOS) as readonly ScenarioName[];

/** One repository's life: the scenarios that happen to it in turn. */
export interface Group {
  /** Fills the repository; pulled whether it was asked for or not. */
  readonly first: ScenarioName;
  readonly next: readonly ScenarioName[];
}

/** The repositories that `wanted` needs. */
export function groupScenarios(wanted: ReadonlySet<ScenarioName>): readonly Group[] {
  return SCENARIO_NAMES.filter((name) => SCENARIOS[name].after === undefined)
    .map((first) => ({
      first,
      next: SCENARIO_NAMES.filter((name) => wanted.has(name) && SCENARIOS[name].after === first),
    }))
    .filter(({ first, next }) => wanted.has(first) || next.length > 0);
}

/** Who goes first changes with every turn: A B, B A, A B, …, so that neither always profits from what the other left. */
export function orderOfTurn<T>(contenders: readonly T[], turn: number): readonly T[] {
  return turn % 2 === 0 ? contenders : contenders.toReversed();
}
