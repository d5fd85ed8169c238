/**
 * The commands by name, each loaded only when it is called: importing the importer, the operator or the Kubernetes
 * client for `--help` would make every start slow.
 */
import type { Command } from './command.ts';

export interface Entry {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<Command>;
}

export const CATALOGUE: readonly Entry[] = [
  {
    name: 'status',
    summary: 'Show the deployments of a host.',
    load: async () => (await import('./commands/status.ts')).status,
  },
  {
    name: 'rebase',
    summary: 'Put a host on the operating system of a container image.',
    load: async () => (await import('./commands/rebase.ts')).rebase,
  },
  {
    name: 'upgrade',
    summary: 'Fetch the newest image under the reference that a host follows.',
    load: async () => (await import('./commands/upgrade.ts')).upgrade,
  },
  {
    name: 'rollback',
    summary: 'Make the previous deployment the default again.',
    load: async () => (await import('./commands/rollback.ts')).rollback,
  },
  {
    name: 'pin',
    summary: 'Keep a deployment until it is unpinned.',
    load: async () => (await import('./commands/pin.ts')).pin,
  },
  {
    name: 'kargs',
    summary: 'Show or change what the kernel of a host is started with.',
    load: async () => (await import('./commands/kargs.ts')).kargs,
  },
  {
    name: 'install',
    summary: 'Put the operating system of a container image on an empty disk.',
    load: async () => (await import('./commands/install.ts')).install,
  },
  {
    name: 'image pull',
    summary: 'Import a container image into an OSTree repository.',
    load: async () => (await import('./commands/image-pull.ts')).imagePull,
  },
  {
    name: 'image deploy',
    summary: 'Deploy a container image into a sysroot, as installers do.',
    load: async () => (await import('./commands/image-deploy.ts')).imageDeploy,
  },
  {
    name: 'image list',
    summary: 'List the container images in an OSTree repository.',
    load: async () => (await import('./commands/image-list.ts')).imageList,
  },
  {
    name: 'image info',
    summary: 'Show which image a reference means now.',
    load: async () => (await import('./commands/image-info.ts')).imageInfo,
  },
  {
    name: 'image history',
    summary: 'Show the layers of a stored container image and what made them.',
    load: async () => (await import('./commands/image-history.ts')).imageHistory,
  },
  {
    name: 'image metadata',
    summary: 'Show the manifest, or the config, of a stored container image.',
    load: async () => (await import('./commands/image-metadata.ts')).imageMetadata,
  },
  {
    name: 'image check',
    summary: 'Look for an update of a stored container image, and its cost.',
    load: async () => (await import('./commands/image-check.ts')).imageCheck,
  },
  {
    name: 'image compare',
    summary: 'Compare the layers of two container images.',
    load: async () => (await import('./commands/image-compare.ts')).imageCompare,
  },
  {
    name: 'diff',
    summary: 'Compare two operating systems: packages, layers, bytes to pull.',
    load: async () => (await import('./commands/diff.ts')).diff,
  },
  {
    name: 'image copy',
    summary: 'Copy a stored container image to another repository.',
    load: async () => (await import('./commands/image-copy.ts')).imageCopy,
  },
  {
    name: 'image reexport',
    summary: 'Write a stored container image out again, layer by layer.',
    load: async () => (await import('./commands/image-reexport.ts')).imageReexport,
  },
  {
    name: 'image replace-detached-metadata',
    summary: 'Copy an encapsulated image with other signatures at its commit.',
    load: async () => (await import('./commands/image-replace-detached-metadata.ts')).imageReplaceDetachedMetadata,
  },
  {
    name: 'image remove',
    summary: 'Take container images out of an OSTree repository.',
    load: async () => (await import('./commands/image-remove.ts')).imageRemove,
  },
  {
    name: 'image prune',
    summary: 'Delete the container images that no deployment was made from.',
    load: async () => (await import('./commands/image-prune.ts')).imagePrune,
  },
  {
    name: 'image prune-images',
    summary: 'Delete the container images that no deployment was made from.',
    load: async () => (await import('./commands/image-prune.ts')).imagePruneImages,
  },
  {
    name: 'image prune-layers',
    summary: 'Drop the layers that nothing in an OSTree repository needs.',
    load: async () => (await import('./commands/image-prune.ts')).imagePruneLayers,
  },
  {
    name: 'image clear-cached-update',
    summary: 'Forget the update that a check found for a stored image.',
    load: async () => (await import('./commands/image-clear-cached-update.ts')).imageClearCachedUpdate,
  },
  {
    name: 'fsck',
    summary: 'Verify an OSTree repository with its images, and repair it.',
    load: async () => (await import('./commands/fsck.ts')).fsck,
  },
  {
    name: 'rechunk',
    summary: 'Make a fresh image, in layers by package, of any bootable image.',
    load: async () => (await import('./commands/rechunk.ts')).rechunk,
  },
  {
    name: 'encapsulate',
    summary: 'Write an OSTree commit as a container image.',
    load: async () => (await import('./commands/encapsulate.ts')).encapsulate,
  },
  {
    name: 'unencapsulate',
    summary: 'Import the OSTree commit that a container image was made of.',
    load: async () => (await import('./commands/unencapsulate.ts')).unencapsulate,
  },
  {
    name: 'sign',
    summary: 'Sign a container image on a registry with a private key.',
    load: async () => (await import('./commands/sign.ts')).sign,
  },
  {
    name: 'verify',
    summary: 'Verify the signatures of a container image on a registry.',
    load: async () => (await import('./commands/verify.ts')).verify,
  },
  {
    name: 'trusted-root',
    summary: 'Fetch the trusted root of a sigstore, or check a pinned one.',
    load: async () => (await import('./commands/trusted-root.ts')).trustedRoot,
  },
  {
    name: 'compose',
    summary: 'Make an OS image from a directory tree or a Containerfile.',
    load: async () => (await import('./commands/compose.ts')).composeCommand,
  },
  {
    name: 'mirror',
    summary: 'Copy images and their signatures to a registry or a directory.',
    load: async () => (await import('./commands/mirror.ts')).mirror,
  },
  {
    name: 'explain',
    summary: 'Say why a node, or an OSImage, is where it is.',
    load: async () => (await import('./commands/explain.ts')).explain,
  },
  {
    name: 'approve',
    summary: 'Let a rollout go on past the step that waits for approval.',
    load: async () => (await import('./commands/approve.ts')).approve,
  },
  {
    name: 'pause',
    summary: 'Keep a rollout from taking further nodes.',
    load: async () => (await import('./commands/pause.ts')).pause,
  },
  {
    name: 'resume',
    summary: 'Take back a pause of a rollout.',
    load: async () => (await import('./commands/pause.ts')).resume,
  },
  {
    name: 'operator',
    summary: 'Run the operator: OSImages become rebase orders.',
    load: async () => (await import('./commands/operator.ts')).operator,
  },
  {
    name: 'agent',
    summary: 'Run the agent of one node: rebase orders are carried out.',
    load: async () => (await import('./commands/agent.ts')).agent,
  },
];
