/** What the state of each node decides about it, before the fleet has its say. */
import type { NodeOS } from '../../api/index.ts';
import { standingOf } from './maintenance-lease.ts';
import type { Member } from './member.ts';
import type { Membership } from './membership.ts';
import { follow, hold } from './node-step.ts';
import type { Step } from './node-view.ts';
import { leave } from './phases/leaving.ts';
import { factsOf } from './node-facts.ts';
import { isNobodys } from './plan-memory.ts';
import type { Kept, PlanMemory, Premises, Ruling } from './plan-memory.ts';
import type { ImageSnapshot, NodeSnapshot, Snapshot } from './snapshot.ts';
import { chooseTarget, nodeTarget } from './target.ts';
import type { NodeTarget, TargetChoice } from './target.ts';
import { isAlone, viewOf } from './viewing.ts';

/** What an OSImage is after, worked out once for all of its nodes. */
export interface Rule {
  readonly choice: TargetChoice;
  /** By which a decision is known to rest on the same OSImage as one of before. */
  readonly ruling: Ruling;
  /** What a node of the architecture is to run. */
  readonly targetOn: (architecture: string) => NodeTarget | undefined;
}

/** What nodes are decided on. */
export interface Grounds {
  readonly snapshot: Snapshot;
  readonly rules: ReadonlyMap<ImageSnapshot, Rule>;
  readonly memory: PlanMemory;
  readonly now: Date;
}

/** The rules of `images` at `now`. */
export function rulesOf(
  images: readonly ImageSnapshot[],
  memory: PlanMemory,
  now: Date,
): ReadonlyMap<ImageSnapshot, Rule> {
  memory.retain(new Set(images.map(({ object }) => object.metadata.uid)));
  return new Map(
    images.map((image) => {
      const choice = chooseTarget(image, now);
      const targets = new Map<string, NodeTarget | undefined>();
      const targetOn = (architecture: string) => {
        if (!targets.has(architecture)) targets.set(architecture, nodeTarget(image.object, choice, architecture));
        return targets.get(architecture);
      };
      return [image, { choice, ruling: memory.ruling(image, choice, now), targetOn }];
    }),
  );
}

/** Decides about `node`, whose NodeOS is `os`. */
export function decide(node: NodeSnapshot, os: NodeOS | undefined, membership: Membership, grounds: Grounds): Member {
  const { snapshot, rules, now } = grounds;
  const rule = membership.kind === 'Ruled' ? rules.get(membership.image) : undefined;
  const target = rule?.targetOn(node.architecture);
  const drain = snapshot.drains.get(node.name);
  const lease = standingOf(snapshot, node.name, now);
  let premises: Premises | undefined;
  let kept: Kept | undefined;
  let step: Step | undefined;
  if (os !== undefined && os.metadata.deletionTimestamp === undefined) {
    if (rule !== undefined && isNobodys(lease)) {
      premises = { node, os, ruling: rule.ruling, drain, alone: isAlone(node, os, snapshot) };
      kept = grounds.memory.recall(premises, now);
    }
    step = kept?.step ?? stepOf(node, os, membership, rule, grounds);
  }
  const facts = kept?.facts ?? factsOf(node, os, target, membership.kind === 'Ruled');
  // A literal of one form, for each node in each plan.
  return {
    node,
    membership,
    os,
    target,
    drain,
    lease,
    facts,
    step,
    recalled: kept,
    premises: kept === undefined ? premises : undefined,
  };
}

function stepOf(
  node: NodeSnapshot,
  os: NodeOS,
  membership: Membership,
  rule: Rule | undefined,
  { snapshot, now }: Grounds,
): Step {
  const view = viewOf(node, os, membership, snapshot, now);
  switch (membership.kind) {
    case 'Ruled': {
      const target = rule?.targetOn(node.architecture);
      return target === undefined ? hold(view, whyOnHold(node, rule)) : follow(view, target);
    }
    case 'Excluded':
      return leave(view, 'The node is labelled treeline.dev/exclude and is left alone.');
    case 'Conflict': {
      const names = membership.images.map(({ object }) => object.metadata.name).join(', ');
      return leave(view, `OSImages ${names} all select the node; it stays as it is.`);
    }
    case 'Unselected':
      return leave(view, 'No OSImage selects the node any more.');
  }
}

function whyOnHold({ architecture }: NodeSnapshot, rule: Rule | undefined): string {
  return rule?.choice.image === undefined
    ? 'Waits for its image to be resolved to a digest.'
    : `The image has no manifest for ${architecture}; push one, or take the node out of the selector.`;
}
