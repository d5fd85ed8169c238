export { PROMETHEUS_SECRET_TYPE } from './alert-policy.ts';
export type { AlertPolicy } from './alert-policy.ts';
export * from './condition.ts';
export * from './constants.ts';
export * from './custom-resource-definition.ts';
export * from './drain-policy.ts';
export { CHECK_TIMEOUT_SECONDS } from './health-check.ts';
export type { HealthCheck } from './health-check.ts';
export { GATE_TIMEOUT_SECONDS } from './health-policy.ts';
export { type ImageSigner, type ImageVerification, isVerified, type OrderedPolicy } from './image-verification.ts';
export type { Gate, HostRollback } from './health-policy.ts';
export type { KernelArguments } from './kernel-arguments.ts';
export * from './label-selector.ts';
export * from './node-os.ts';
export * from './object-meta.ts';
export {
  type BuildRecord,
  type OSImageBuild,
  type OSImageBuildSpec,
  type OSImageBuildStatus,
} from './os-image-build.ts';
export * from './os-image-status.ts';
export * from './os-image.ts';
export * from './release-order.ts';
export type { RolloutStep, StepStatus } from './rollout-steps.ts';
export type { SlotGrowth } from './slot-growth.ts';
export { slotOrderSchema } from './slot-order.ts';
export type { TopologyBudget } from './topology-budget.ts';
export type { Freeze, MaintenanceWindow, TimedAction } from './windows.ts';
