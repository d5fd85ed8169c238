/** The versions of the guest's operating system: the base with Treeline as it ships, and what changes from one to the next. */
import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { bundle } from '../../tools/build.ts';
import { deriveImage } from '../derived-image.ts';
import type { LayerFile } from '../derived-image.ts';
import { GUEST, GUEST_BASE } from './guest-image.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** As the Dockerfile has it, with the Node that is in the base. */
const LAUNCHER = `#!/bin/sh
exec /usr/lib/treeline/node /usr/lib/treeline/dist/treeline.mjs "$@"
`;

/** Of layers, a link cannot be one: this has the unit started at boot as `systemctl enable` would. */
const ENABLED = `[Unit]
Wants=treeline-agent.service
`;

/** A unit that is started at boot, and fails. */
export const FAILING_UNIT = {
  name: 'testbed-health.service',
  files: [
    {
      path: 'usr/lib/systemd/system/testbed-health.service',
      content: '[Service]\nType=oneshot\nExecStart=/bin/false\n',
    },
    {
      path: 'usr/lib/systemd/system/multi-user.target.d/testbed-health.conf',
      content: '[Unit]\nWants=testbed-health.service\n',
    },
  ],
} as const;

export interface GuestRegistry {
  readonly host: string;
  readonly url: string;
}

/** Publishes version 1: Treeline bundled into `scratch`, its unit, and what every version has. Returns its digest. */
export async function publishFirstVersion(registry: GuestRegistry, scratch: string): Promise<string> {
  await bundle(join(scratch, 'dist'));
  return publish(registry, GUEST_BASE, '1', [
    { path: 'usr/bin/treeline', content: LAUNCHER, mode: 0o755 },
    ...(await filesBelow(join(scratch, 'dist'), 'usr/lib/treeline/dist')),
    // Not in the bundle, for it brings a native library.
    ...(await filesBelow(join(ROOT, 'node_modules', 'koffi'), 'usr/lib/treeline/node_modules/koffi')),
    ...(await filesBelow(join(ROOT, 'node_modules', '@koromix'), 'usr/lib/treeline/node_modules/@koromix')),
    {
      path: 'usr/lib/systemd/system/treeline-agent.service',
      content: await readFile(join(ROOT, 'manifests', 'host', 'treeline-agent.service')),
    },
    { path: 'usr/lib/systemd/system/multi-user.target.d/treeline-agent.conf', content: ENABLED },
    ...releaseFiles('1'),
  ]);
}

/** Publishes a version that differs from `base` by its name and `files`. Returns its digest. */
export async function publishNextVersion(
  registry: GuestRegistry,
  base: string,
  version: string,
  files: readonly LayerFile[] = [],
): Promise<string> {
  return publish(registry, base, version, [...releaseFiles(version), ...files]);
}

async function publish(registry: GuestRegistry, base: string, version: string, files: readonly LayerFile[]) {
  return deriveImage({
    registryUrl: registry.url,
    repository: GUEST,
    baseTag: base,
    tag: version,
    files,
    labels: { 'org.opencontainers.image.version': version },
    createdBy: `COPY version ${version}`,
  });
}

function releaseFiles(version: string): readonly LayerFile[] {
  return [
    { path: 'usr/lib/treeline-testbed-release', content: `VERSION=${version}\n` },
    { path: 'etc/motd', content: `Version ${version} of the guest.\n` },
    { path: `usr/share/treeline-testbed/only-in-${version}`, content: '' },
  ];
}

async function filesBelow(folder: string, target: string): Promise<readonly LayerFile[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return Promise.all(
    entries
      .filter((entry) => entry.isFile())
      .map(async (entry) => {
        const path = join(entry.parentPath, entry.name);
        return { path: join(target, relative(folder, path)), content: await readFile(path) };
      }),
  );
}
