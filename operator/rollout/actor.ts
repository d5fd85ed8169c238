/** Who has to do something before a rollout goes on. */
import type { Phase } from '../../api/index.ts';
import type { BlockerType } from './reasons.ts';

export type Actor =
  /** A person: the message says what to do. */
  | 'Person'
  /** Nobody: it goes away at a time. */
  | 'Time'
  /** The nodes that were given their slots before. */
  | 'OtherNodes'
  /** Whoever maintains the node besides Treeline, or the end of their lease. */
  | 'Maintainer'
  /** The agent on the node, or the machine below it. */
  | 'Agent'
  /** The hook outside of Treeline that the message names. */
  | 'Hook'
  /** The operator, by itself. */
  | 'Operator';

/** Who can make a blocker go away. */
export const ACTOR_OF_BLOCKER: Readonly<Record<BlockerType, Actor>> = {
  AdmissionPolicyMissing: 'Person',
  ImageNotVerified: 'Person',
  ImageNotResolved: 'Person',
  SelectorConflict: 'Person',
  InvalidWindow: 'Person',
  ImageRefused: 'Person',
  DowngradeForbidden: 'Person',
  DigestQuarantined: 'Person',
  RolloutHalted: 'Person',
  RolledBack: 'Person',
  BootRefused: 'Person',
  Unhealthy: 'Person',
  RebootOverdue: 'Person',
  StagingFailed: 'Person',
  NodeResting: 'Time',
  PlatformMissing: 'Person',
  Paused: 'Person',
  Frozen: 'Time',
  WindowClosed: 'Time',
  WindowTooShort: 'Time',
  StagingClosed: 'Person',
  StepAwaitingApproval: 'Person',
  StepEmpty: 'Person',
  StepSoaking: 'Time',
  StepIncomplete: 'OtherNodes',
  OutOfTurn: 'OtherNodes',
  GrowthSpent: 'OtherNodes',
  DomainsInProgress: 'OtherNodes',
  DomainBudgetSpent: 'OtherNodes',
  ControlPlaneUnavailable: 'Person',
  ControlPlaneBusy: 'OtherNodes',
  TooManyBlocked: 'Person',
  MaintenanceLeaseHeld: 'Maintainer',
  NodeUnderMaintenance: 'Maintainer',
  RebootLocked: 'Maintainer',
  DrainTimedOut: 'Person',
  DrainRefused: 'Person',
  DrainHeldUp: 'Person',
  DrainWouldBeRefused: 'Person',
  AlertsFiring: 'Person',
  AlertsUnreachable: 'Person',
  CheckInvalid: 'Person',
  CheckForbidden: 'Person',
  CheckFailed: 'Person',
  GateTimedOut: 'Person',
  GateClosed: 'Hook',
  NodeNotReady: 'Person',
  AgentSilent: 'Person',
  BudgetSpent: 'OtherNodes',
};

/** Who moves a node out of its phase while nothing stands in the way. */
export const ACTOR_OF_PHASE: Readonly<Record<Phase, Actor>> = {
  Pending: 'Agent',
  Staging: 'Agent',
  Staged: 'Operator',
  AwaitingSlot: 'Operator',
  Draining: 'Operator',
  AwaitingGate: 'Time',
  Rebooting: 'Agent',
  Verifying: 'Agent',
  Soaking: 'Time',
  Updated: 'Operator',
  RollingBack: 'Operator',
  Blocked: 'Person',
  Failed: 'Person',
  Excluded: 'Person',
};
