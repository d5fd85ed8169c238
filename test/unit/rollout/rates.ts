/** How often things go wrong in the simulated cluster: the chance of each, every time that it could happen. */

export interface Rates {
  /** An action is not carried out, and neither is the rest of the plan: the operator was killed. */
  readonly crash: number;
  /** A single action fails. */
  readonly lostAction: number;
  /** Somebody else does something between the snapshot and the actions. */
  readonly interleaving: number;
  readonly stageFails: number;
  readonly rollsBack: number;
  /** The host takes longer than its deadline to come back. */
  readonly slowBoot: number;
  readonly agentAway: number;
  readonly staleAgent: number;
  readonly people: number;
  /** A PodDisruptionBudget refuses the evictions of a round. */
  readonly refusal: number;
  /** The hook behind the gates does not answer a node's question, or says no. */
  readonly hookAway: number;
  /** A check is read and is not true, or cannot be read. */
  readonly checkFails: number;
  /** An alert fires, or the Prometheus does not answer. */
  readonly alarm: number;
}

export const NO_FAULTS: Rates = {
  crash: 0,
  lostAction: 0,
  interleaving: 0,
  stageFails: 0,
  rollsBack: 0,
  slowBoot: 0,
  agentAway: 0,
  staleAgent: 0,
  people: 0,
  refusal: 0,
  hookAway: 0,
  checkFails: 0,
  alarm: 0,
};
