/**
 * Looks, for as long as the operator runs, whether the admission policies that it ships are in force. They keep agents, people
 * and the operator itself to what is theirs; without them, nothing that a NodeOS says can be relied on.
 */
import type { Logger } from 'pino';
import { jittered } from '../back-off.ts';
import type { Clock } from '../clock.ts';
import { isKubeError, messageOf } from '../errors.ts';
import type { AdmissionSnapshot } from '../rollout/snapshot.ts';
import { sameContent } from '../rollout/same-content.ts';
import { deviations, type LivePolicy } from './deviations.ts';
import type { ShippedPolicy } from './shipped-policies.ts';

/** A policy that was taken away is noticed after about this; each look is two small reads for each policy. */
const PACE_MS = 15_000;
/** While something is wrong, somebody is likely to be at work on it; an API server that was away at the start is back soon. */
const ALERT_PACE_MS = 3000;

export interface PolicyInspectionOptions {
  readonly policies: readonly ShippedPolicy[];
  /** Reads a ValidatingAdmissionPolicy by its name; throws `KubeError`. */
  readonly readPolicy: (name: string, signal: AbortSignal) => Promise<NonNullable<LivePolicy['policy']>>;
  /** Reads a ValidatingAdmissionPolicyBinding by its name; throws `KubeError`. */
  readonly readBinding: (name: string, signal: AbortSignal) => Promise<NonNullable<LivePolicy['binding']>>;
  /** Called when something else is to be said than before. */
  readonly onChange: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

type Finding = { readonly deviations: readonly string[] } | { readonly unreadable: string };

export class PolicyInspection {
  readonly #options: PolicyInspectionOptions;
  readonly #findings = new Map<string, Finding>();
  #report: AdmissionSnapshot | undefined;

  constructor(options: PolicyInspectionOptions) {
    this.#options = options;
  }

  /** What the last look has found; absent before the first. The same object for as long as it says the same. */
  report(): AdmissionSnapshot | undefined {
    return this.#report;
  }

  /** For each policy that could be read, whether it is in force. */
  get inForce(): ReadonlyMap<string, boolean> {
    const known = [...this.#findings].flatMap(([name, finding]): [string, boolean][] =>
      'deviations' in finding ? [[name, finding.deviations.length === 0]] : [],
    );
    return new Map(known);
  }

  /** Looks until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, onChange, logger } = this.#options;
    while (!signal.aborted) {
      await this.#look(signal);
      if (signal.aborted) return;
      const report = this.#summary();
      if (!sameContent(report, this.#report)) {
        this.#report = report;
        const { deviating, unreadable } = report;
        if (deviating.length > 0) logger.warn({ deviating }, 'admission policies are not in force');
        if (unreadable !== undefined) logger.warn({ unreadable }, 'admission policies cannot be looked at');
        onChange();
      }
      const calm = report.deviating.length === 0 && report.unreadable === undefined;
      const paceMs = calm ? PACE_MS : ALERT_PACE_MS;
      await clock.sleep(
        jittered(paceMs, 0.2, () => clock.random()),
        signal,
      );
    }
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { policies, readPolicy, readBinding } = this.#options;
    for (const shipped of policies) {
      const { name } = shipped;
      try {
        const [policy, binding] = await Promise.all([
          orNone(readPolicy(name, signal)),
          orNone(readBinding(name, signal)),
        ]);
        const live = { ...(policy && { policy }), ...(binding && { binding }) };
        this.#findings.set(name, { deviations: deviations(shipped, live) });
      } catch (error) {
        // An API server that is busy or away has taken nothing back of what it said before.
        if (isKubeError(error, 'Forbidden') || !this.#findings.has(name))
          this.#findings.set(name, { unreadable: messageOf(error) });
      }
    }
  }

  #summary(): AdmissionSnapshot {
    const deviating = this.#options.policies.flatMap(({ name, manifest }) => {
      const finding = this.#findings.get(name);
      if (finding === undefined || !('deviations' in finding) || finding.deviations.length === 0) return [];
      return [{ policy: name, problem: finding.deviations.join(', '), manifest }];
    });
    const unreadable = [...this.#findings.values()].find((finding) => 'unreadable' in finding);
    return { deviating, ...(unreadable && 'unreadable' in unreadable && { unreadable: unreadable.unreadable }) };
  }
}

async function orNone<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (isKubeError(error, 'NotFound')) return undefined;
    throw error;
  }
}
