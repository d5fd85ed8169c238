/** How long each phase of a node's update took, from what its NodeOS said while a watch followed it. */
import type { NodeOS } from '../../api/index.ts';

interface Entered {
  readonly phase: string;
  /** As the operator wrote it, to the second. */
  readonly time: string;
}

export class PhaseTimes {
  readonly #entered = new Map<string, Entered[]>();

  /** To be called with each version of a NodeOS. */
  note({ metadata: { name }, status }: NodeOS): void {
    const rollout = status?.rollout;
    if (rollout === undefined) return;
    const entered = this.#entered.get(name) ?? [];
    this.#entered.set(name, entered);
    const last = entered.at(-1);
    if (last?.phase !== rollout.phase || last.time !== rollout.phaseTime)
      entered.push({ phase: rollout.phase, time: rollout.phaseTime });
  }

  /** Phases in order, each with its seconds: `Staging 12 s, AwaitingSlot 1 s, …`; the one that it is in has none. */
  describe(name: string): string {
    const entered = this.#entered.get(name) ?? [];
    return entered
      .map(({ phase, time }, at) => {
        const next = entered[at + 1];
        return next === undefined ? phase : `${phase} ${(Date.parse(next.time) - Date.parse(time)) / 1000} s`;
      })
      .join(', ');
  }
}
