/** Gives staging places to the nodes of one OSImage that wait for one, and says what keeps it from doing so. */
import { countOf } from './budget.ts';
import { imageRefusals } from './image-refusal.ts';
import { closedToAny, closedToJoining, isJoining } from './joining.ts';
import type { Member } from './member.ts';
import type { Look } from './health-gate.ts';
import type { Obstacle } from './obstacle.ts';
import { grantPlace } from './phases/start.ts';
import type { GateView } from './slot-gates.ts';
import { closedToStaging } from './staging-gates.ts';
import { stagingPlaces } from './staging-places.ts';

export interface PlacesGranted {
  readonly granted: readonly Member[];
  /** What keeps nodes from beginning to fetch. */
  readonly unstaged: readonly Obstacle[];
}

/** What came of the slots in the same plan. */
export interface SlotsGranted {
  readonly granted: readonly Member[];
  readonly closed: readonly Obstacle[];
  readonly heldBack: readonly Obstacle[];
  readonly looks: readonly Look[];
}

/** Grants places after `slots`: who comes next depends on who has got one. */
export function grantPlaces(view: GateView, slots: SlotsGranted): PlacesGranted {
  const { image, choice, census, viewed } = view;
  const unstaged = closedToAny(closedToStaging(view), census);
  const refused = new Set(imageRefusals(census).map(({ digest }) => digest));
  const candidates = census.awaitingPlace.filter(({ member }) => {
    // Who has tried it tries again: a repaired image must be noticed by somebody.
    if (refused.has(member.target?.digest ?? '') && !member.facts.blamesImage) return false;
    return unstaged.length === 0 || isJoining(member);
  });
  if (candidates.length === 0 || closedToJoining(unstaged).length > 0 || choice.target === undefined)
    return { granted: [], unstaged };
  const { mode, lookahead, maxConcurrent } = image.object.spec.staging;
  const byName = new Map(candidates.map((candidate) => [candidate.member.node.name, candidate]));
  const names = stagingPlaces({
    candidates,
    turn: view.turn,
    census,
    max: countOf(maxConcurrent, census.members.length),
    ...(mode === 'AheadOfRollout' && {
      lookahead: {
        nodes: lookahead,
        heldBack: new Set([...slots.heldBack.flatMap(({ node }) => node ?? []), ...tryingAgain(view, refused)]),
        stuck: isStuck(view, slots),
      },
    }),
  });
  const granted = names.flatMap((name): Member[] => {
    const candidate = byName.get(name);
    const { target, step } = candidate?.member ?? {};
    if (candidate === undefined || target === undefined || step === undefined) return [];
    return [{ ...candidate.member, step: grantPlace(viewed(candidate), target, step), premises: undefined }];
  });
  return { granted, unstaged };
}

/**
 * Names of nodes that try again what keeps all others from going on: they never wait for a look-ahead, which no slot empties
 * meanwhile. They try a refused image, or have failed while the rollout is halted.
 */
function tryingAgain({ census, halted }: GateView, refused: ReadonlySet<string>): readonly string[] {
  const refusing = census.blaming.filter(({ target }) => refused.has(target?.digest ?? ''));
  const failed = halted ? census.failures.map(({ member }) => member) : [];
  return [...refusing, ...failed].map(({ node }) => node.name);
}

/**
 * True when the fleet could spare a node, and nobody has a slot or can get one. Whatever closes slots to all nodes, a step that
 * is full, and a question that is not answered yet, pass without another image on another node.
 */
function isStuck({ census, budget, steps }: GateView, { granted, closed, looks }: SlotsGranted): boolean {
  // With a step that takes no more nodes, those that hold the image are not stuck: they are what comes next.
  const taking = steps?.open?.some(({ room }) => room > 0) ?? true;
  // While checks or alerts are asked, somebody can go as soon as they are answered.
  const open = closed.length === 0 && looks.length === 0 && taking && budget.unavailable.size < budget.max;
  return open && granted.length === 0 && census.holders.length === 0;
}
