/** The hosts that are asking for a lock, or giving one back, just now. Nothing here is durable: a host that is not answered asks again. */
import type { Clock } from '../clock.ts';
import type { ObjectCache } from '../kube/object-cache.ts';
import type { Node } from '../kube/objects.ts';
import { CORDONED_BY_ANNOTATION } from '../../api/index.ts';
import { lockMark } from '../rollout/reboot-lock-mark.ts';
import type { RebootWish } from '../rollout/snapshot.ts';
import { isClient } from './client-id.ts';

/** A host waits for its answer; one that has waited for so long is sent away, to ask again. */
const PATIENCE_MS = 10_000;

export interface LockAnswer {
  readonly status: number;
  /** One of a few words, by which clients count. */
  readonly kind: string;
  readonly value: string;
}

export interface RebootLocksOptions {
  readonly nodes: ObjectCache<Node>;
  readonly isLeader: () => boolean;
  /** Asks for a plan soon. */
  readonly wake: () => void;
  readonly clock: Clock;
}

const DONE: LockAnswer = { status: 200, kind: 'done', value: '' };

export class RebootLocks {
  readonly #options: RebootLocksOptions;
  readonly #asking = new Map<string, { readonly wish: RebootWish; readonly answer: (answer: LockAnswer) => void }>();

  constructor(options: RebootLocksOptions) {
    this.#options = options;
    options.nodes.onChange(() => this.#look());
  }

  /** What the next plan is to decide, by node. */
  get wishes(): ReadonlyMap<string, RebootWish> {
    return new Map([...this.#asking].map(([node, { wish }]) => [node, wish]));
  }

  /** Answers when the lock is, or is no longer, durable on the Node, or why it is not. Never rejects. */
  async ask(
    kind: RebootWish['kind'],
    { id, group }: { readonly id: string; readonly group: string },
  ): Promise<LockAnswer> {
    const { nodes, isLeader, wake, clock } = this.#options;
    const node = nodes.values().find(({ metadata, status }) => isClient(id, metadata.name, status.machineID));
    // What never had a lock has none to give back.
    if (node === undefined && kind === 'Unlock') return DONE;
    if (node === undefined) return refused('unknown_client', `no Node has the name or the machine id of ${id}`, 404);
    const { name } = node.metadata;
    const wish: RebootWish = { kind, id: name, group };
    if (isGranted(node, wish)) return DONE;
    if (!isLeader()) return refused('not_leading', 'another replica of the operator leads; ask again', 503);
    this.#asking.get(name)?.answer(refused('overtaken', 'the same host has asked for something else', 409));
    const patience = new AbortController();
    const answered = new Promise<LockAnswer>((resolve) => {
      this.#asking.set(name, { wish, answer: resolve });
    });
    wake();
    const late = clock
      .sleep(PATIENCE_MS, patience.signal)
      .then(() => refused('timeout', 'not decided; ask again', 503));
    const answer = await Promise.race([answered, late]);
    patience.abort();
    if (this.#asking.get(name)?.wish === wish) this.#asking.delete(name);
    return answer;
  }

  /** Takes in why the plan that was just carried out refuses some of them. */
  planned(refusals: ReadonlyMap<string, string>): void {
    for (const [node, why] of refusals) {
      this.#asking.get(node)?.answer(refused('failed_lock', why, 409));
    }
  }

  #look(): void {
    for (const [name, { wish, answer }] of this.#asking) {
      const node = this.#options.nodes.get(name);
      if (node === undefined) answer(refused('unknown_client', `Node ${name} is gone`, 404));
      else if (isGranted(node, wish)) answer(DONE);
    }
  }
}

function isGranted({ metadata, spec }: Node, { kind, id }: RebootWish): boolean {
  const locked = spec.unschedulable === true && metadata.annotations?.[CORDONED_BY_ANNOTATION] === lockMark(id);
  return kind === 'Lock' ? locked : !locked;
}

function refused(kind: string, value: string, status: number): LockAnswer {
  return { status, kind, value };
}
