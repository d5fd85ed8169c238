/**
 * What other rooms may use of it: hosts, and what the command line needs of `ostree admin`. Not the agent itself, whose Kubernetes client no
 * other command should have to load: the command that starts it imports `agent.ts`.
 */
export { commandRunner } from './host/command.ts';
export { createHost, HOST_KINDS, type HostKind } from './host/create-host.ts';
export { describeDeployment } from './host/deployments.ts';
export type { Host } from './host/host.ts';
export { imageArguments } from './host/image-arguments.ts';
export { argumentsOf, nextArguments } from './host/kernel-arguments.ts';
export { ociArchitecture } from './host/machine.ts';
export { formatOrigin } from './host/origin-file.ts';
export { OstreeTool } from './host/ostree-tool.ts';
export { changeBootArguments, nextBootArguments } from './host/redeploy.ts';
export { rollBack, soleStateroot } from './host/sandbox.ts';
export { isReadOnly } from './host/writable.ts';
export { imageFactsReader } from './image-store.ts';
