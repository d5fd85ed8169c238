/**
 * What one plan leaves to the next. Most nodes of a large fleet are as they were, and what was decided about one that asked for
 * nothing stays so for as long as everything is the same that the decision looked at; about one that is only to be told something,
 * for the rest of the second. A plan without a memory is the same plan.
 */
import type { NodeOS, Phase } from '../../api/index.ts';
import type { Action } from './action.ts';
import { isControlPlane } from './control-plane-care.ts';
import { welcomesNewNodes } from './joining.ts';
import type { LeaseStanding } from './maintenance-lease.ts';
import type { NodeFacts } from './node-facts.ts';
import { holdsSlot } from './node-view.ts';
import type { Step } from './node-view.ts';
import type { DrainSnapshot, ImageSnapshot, NodeSnapshot } from './snapshot.ts';
import type { TargetChoice } from './target.ts';
import { mayRebootNow } from './time/time-gates.ts';

/** Everything of an OSImage that the decision about one of its nodes looks at. The same object means the same content. */
export interface Ruling {
  readonly content: string;
  /** It asks for checks, whose answers come and go. */
  readonly asks: boolean;
}

/** What a node is decided on. Parts are compared by identity: the caches hold the same object for as long as it says the same. */
export interface Premises {
  readonly node: NodeSnapshot;
  readonly os: NodeOS;
  readonly ruling: Ruling;
  readonly drain: DrainSnapshot | undefined;
  /** The pods of the node could run on no other node. */
  readonly alone: boolean;
}

/** What was decided about a node, and what is known of it, on the same premises. */
export interface Kept {
  readonly step: Step;
  readonly facts: NodeFacts;
  /** What is to be done about it, as long as nobody has. */
  readonly actions: readonly Action[];
  readonly premises: Premises;
  /** Milliseconds, from and until which it holds. */
  readonly from: number;
  readonly until: number;
}

/**
 * What thousands of nodes are told at once when the target changes, and wait for while others go first. It says when it was decided,
 * in whole seconds, so it is the same for the rest of that second.
 */
const TOLD: ReadonlySet<Action['kind']> = new Set(['WriteRollout', 'Emit', 'Mark']);

/** A decision with what comes of it. */
export interface Decision {
  readonly step: Step;
  readonly facts: NodeFacts;
  readonly actions: readonly Action[];
}

/** Phases that say by which time they may differ. */
const STILL: ReadonlySet<Phase> = new Set([
  'Pending',
  'Draining',
  'Staging',
  'Staged',
  'AwaitingSlot',
  'AwaitingGate',
  'Blocked',
  'Rebooting',
  'Verifying',
  'Soaking',
  'Updated',
  'Failed',
]);

export class PlanMemory {
  readonly #kept = new WeakMap<NodeOS, Kept>();
  readonly #rulings = new Map<string, Ruling>();

  /** The ruling of `image` at `now`: the one of before if it says the same. */
  ruling({ object }: ImageSnapshot, choice: TargetChoice, now: Date): Ruling {
    const { uid } = object.metadata;
    const content = JSON.stringify([object.spec, choice, welcomesNewNodes(object), mayRebootNow(object, now)]);
    const before = this.#rulings.get(uid);
    if (before?.content === content) return before;
    const ruling = { content, asks: object.spec.health.checks.length > 0 };
    this.#rulings.set(uid, ruling);
    return ruling;
  }

  /** Forgets the rulings of OSImages that are none of `uids` any more. */
  retain(uids: ReadonlySet<string>): void {
    for (const uid of this.#rulings.keys()) if (!uids.has(uid)) this.#rulings.delete(uid);
  }

  /** What was decided on the same premises, if `now` changes nothing about it. */
  recall({ node, os, ruling, drain, alone }: Premises, now: Date): Kept | undefined {
    const kept = this.#kept.get(os);
    if (kept === undefined) return undefined;
    const { premises, from, until } = kept;
    if (premises.node !== node || premises.ruling !== ruling) return undefined;
    if (premises.drain !== drain || premises.alone !== alone) return undefined;
    const time = now.getTime();
    // A clock that was set back is no reason to believe in anything.
    return from <= time && time < until ? kept : undefined;
  }

  /** Remembers what was decided at `now`, if it rests on `premises` alone and asks for nothing that may not be asked for twice. */
  keep(premises: Premises, { step, facts, actions }: Decision, now: Date): void {
    // A drain is looked at again and again, which changes nothing by itself.
    const others = actions.filter(({ kind }) => kind !== 'Drain');
    if (!others.every(({ kind }) => TOLD.has(kind)) || !mayBeKept(premises)) return;
    const from = now.getTime();
    const wake = step.wake?.getTime() ?? Infinity;
    const until = others.length === 0 ? wake : Math.min(wake, (Math.floor(from / 1000) + 1) * 1000);
    this.#kept.set(premises.os, { step, facts, actions, premises, from, until });
  }
}

function mayBeKept({ node, os, ruling }: Premises): boolean {
  const phase = os.status?.rollout?.phase;
  if (phase === undefined || !STILL.has(phase)) return false;
  // In a slot, answers to checks have a say, and other control-plane nodes.
  return !holdsSlot(os) || !(ruling.asks || isControlPlane(node));
}

/** True when nobody has ever had a say in the node by a lease: whose it is depends on the time. */
export function isNobodys(lease: LeaseStanding | undefined): boolean {
  return lease === undefined || (lease.whose === 'Nobody' && lease.resourceVersion === undefined);
}
