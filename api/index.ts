export * from './condition.ts';
export * from './constants.ts';
export * from './custom-resource-definition.ts';
export * from './label-selector.ts';
export * from './node-os.ts';
export * from './object-meta.ts';
export * from './os-image-status.ts';
export * from './os-image.ts';
export type { Freeze, MaintenanceWindow, TimedAction } from './windows.ts';
