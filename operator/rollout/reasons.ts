/**
 * Every condition type, reason, blocker type and event reason that the planner writes, in one place, because people and
 * alerts match on them: docs/concepts/rollout.md explains each.
 */

/** Conditions of an OSImage. */
export const ImageCondition = {
  Ready: 'Ready',
  Progressing: 'Progressing',
  Reconciling: 'Reconciling',
  Stalled: 'Stalled',
  ImageResolved: 'ImageResolved',
  ImageVerified: 'ImageVerified',
  Paused: 'Paused',
  Degraded: 'Degraded',
  DrainBlocked: 'DrainBlocked',
  SelectorConflict: 'SelectorConflict',
  RollingBack: 'RollingBack',
} as const;

/** Conditions of a NodeOS. */
export const NodeCondition = {
  Cordoned: 'Cordoned',
  Drained: 'Drained',
  Rebooted: 'Rebooted',
  Healthy: 'Healthy',
  UpToDate: 'UpToDate',
} as const;

export const Reason = {
  AllNodesUpdated: 'AllNodesUpdated',
  NoNodesSelected: 'NoNodesSelected',
  AllNodesExcluded: 'AllNodesExcluded',
  RollingOut: 'RollingOut',
  RolloutComplete: 'RolloutComplete',
  RolloutHalted: 'RolloutHalted',
  RollingBack: 'RollingBack',
  NotRollingBack: 'NotRollingBack',
  DigestQuarantined: 'DigestQuarantined',
  Paused: 'Paused',
  NotPaused: 'NotPaused',
  InvalidWindow: 'InvalidWindow',
  Frozen: 'Frozen',
  StepSoaking: 'StepSoaking',
  StepAwaitingApproval: 'StepAwaitingApproval',
  WindowClosed: 'WindowClosed',
  WindowTooShort: 'WindowTooShort',
  ProgressDeadlineExceeded: 'ProgressDeadlineExceeded',
  ImageResolved: 'ImageResolved',
  ImageNotResolved: 'ImageNotResolved',
  SignatureVerified: 'SignatureVerified',
  ImageNotVerified: 'ImageNotVerified',
  VerificationNotRequired: 'VerificationNotRequired',
  VerifiedByHosts: 'VerifiedByHosts',
  ResolutionPending: 'ResolutionPending',
  SelectorConflict: 'SelectorConflict',
  NoConflict: 'NoConflict',
  AdmissionPolicyMissing: 'AdmissionPolicyMissing',
  AdmissionPolicyUnknown: 'AdmissionPolicyUnknown',
  NodesFailed: 'NodesFailed',
  NoFailures: 'NoFailures',
  EvictionRefused: 'EvictionRefused',
  DrainTimedOut: 'DrainTimedOut',
  DrainsUnhindered: 'DrainsUnhindered',
  NothingStalled: 'NothingStalled',
  NothingToDo: 'NothingToDo',

  CordonedByTreeline: 'CordonedByTreeline',
  CordonedByOthers: 'CordonedByOthers',
  NotCordoned: 'NotCordoned',
  PodsGone: 'PodsGone',
  PodsLeft: 'PodsLeft',
  NotDraining: 'NotDraining',
  AwaitingReboot: 'AwaitingReboot',
  BootVerified: 'BootVerified',
  BootNotApproved: 'BootNotApproved',
  RebootOverdue: 'RebootOverdue',
  NotProven: 'NotProven',
  BootRefused: 'BootRefused',
  RolledBack: 'RolledBack',
  NodeReady: 'NodeReady',
  NodeNotReady: 'NodeNotReady',
  Soaking: 'Soaking',
  OnTarget: 'OnTarget',
  Outdated: 'Outdated',
  StagingFailed: 'StagingFailed',
  NotReported: 'NotReported',
  LeftAlone: 'LeftAlone',
} as const;

/** Kinds of obstacle, most important first: the order in which `status.blockers` lists them. */
export const BLOCKER_TYPES = [
  'AdmissionPolicyMissing',
  'ImageNotVerified',
  'ImageNotResolved',
  'SelectorConflict',
  'InvalidWindow',
  'ImageRefused',
  'DowngradeForbidden',
  'DigestQuarantined',
  'RolloutHalted',
  'RolledBack',
  'Unhealthy',
  'BootRefused',
  'RebootOverdue',
  'StagingFailed',
  'NodeResting',
  'PlatformMissing',
  'Paused',
  'Frozen',
  'WindowClosed',
  'WindowTooShort',
  'StagingClosed',
  'StepAwaitingApproval',
  'StepEmpty',
  'StepSoaking',
  'StepIncomplete',
  'OutOfTurn',
  'GrowthSpent',
  'DomainsInProgress',
  'DomainBudgetSpent',
  'ControlPlaneUnavailable',
  'ControlPlaneBusy',
  'TooManyBlocked',
  'MaintenanceLeaseHeld',
  'NodeUnderMaintenance',
  'RebootLocked',
  'DrainTimedOut',
  'DrainRefused',
  'DrainHeldUp',
  'DrainWouldBeRefused',
  'AlertsFiring',
  'AlertsUnreachable',
  'CheckInvalid',
  'CheckForbidden',
  'CheckFailed',
  'GateTimedOut',
  'GateClosed',
  'NodeNotReady',
  'AgentSilent',
  'BudgetSpent',
] as const;

export type BlockerType = (typeof BLOCKER_TYPES)[number];

/** Reasons of events. Each is emitted once, with the write that makes the transition. */
export type EventReason =
  | 'TargetChanged'
  | 'AdmissionPolicyMissing'
  | 'AdmissionPolicyRestored'
  | 'ImageVerified'
  | 'ImageNotVerified'
  | 'RolloutComplete'
  | 'StepStarted'
  | 'StepAwaitingApproval'
  | 'RolloutHalted'
  | 'ProgressDeadlineExceeded'
  | 'DigestQuarantined'
  | 'FleetRolledBack'
  | 'SelectorConflict'
  | 'ImageStaged'
  | 'StagingFailed'
  | 'SlotGranted'
  | 'SlotReleased'
  | 'DrainGivenUp'
  | 'RebootApproved'
  | 'BootRefused'
  | 'BootVerified'
  | 'RebootOverdue'
  | 'NodeUnhealthy'
  | 'StagedLost'
  | 'FinalizationFailed'
  | 'HostRolledBack'
  | 'NodeUpdated'
  | 'NodeLeft';
