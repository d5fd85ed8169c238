/** A bootable tree of a dozen small files, made in a second, for tests that move a fleet rather than bytes. */
import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { convertToOSTreeLayout, kernelFolder, writeInitramfsStandIn } from './ostree-layout.ts';
import { commitTree, initialiseRepository } from './os-repository.ts';
import type { OSRepository } from './os-repository.ts';

const KERNELS = { 1: '6.1.1-small', 2: '6.1.2-small' } as const;

/** As distributions ship them; `etc` moves below `usr` with the conversion. */
const FILES: Readonly<Record<string, string>> = {
  'etc/os-release': 'ID=small\nNAME="Small OS"\nPRETTY_NAME="Small OS"\n',
  'etc/hosts': '127.0.0.1 localhost\n',
  'etc/ssh/sshd_config': 'PermitRootLogin no\n',
  'usr/bin/init': '#!/bin/sh\nexec sleep infinity\n',
  'usr/share/empty': '',
  'usr/lib/tmpfiles.d/small.conf': 'd /var/log 0755 root root -\n',
  'usr/share/legacy/readme': 'Removed by version 3.\n',
  'var/lib/dpkg/status': '',
};

/** Makes the repository below `folder`, with versions 1 and 2; needs root, like every repository of mode `bare`. */
export async function makeSmallOSImage(folder: string): Promise<OSRepository> {
  const root = join(folder, 'small-root');
  const repository: OSRepository = {
    path: join(folder, 'small-repo'),
    name: 'small',
    branches: { 1: 'small/1', 2: 'small/2' },
  };
  for (const name of ['boot', 'etc', 'usr/lib/modules', 'usr/local', 'var/lib/dpkg']) {
    await mkdir(join(root, name), { recursive: true });
  }
  for (const [path, content] of Object.entries(FILES)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content, { mode: path.startsWith('usr/bin/') ? 0o755 : 0o644 });
  }
  await symlink('init', join(root, 'usr', 'bin', 'telinit'));
  await mkdir(kernelFolder(root, KERNELS[1]));
  await convertToOSTreeLayout(root);
  await initialiseRepository(repository.path);

  await describe(root, '1', KERNELS[1]);
  await commitTree(repository.path, repository.branches[1], root, '1');
  await rename(kernelFolder(root, KERNELS[1]), kernelFolder(root, KERNELS[2]));
  await describe(root, '2', KERNELS[2]);
  await commitTree(repository.path, repository.branches[2], root, '2');
  await rm(root, { recursive: true });
  return repository;
}

async function describe(root: string, version: string, kernel: string): Promise<void> {
  await writeFile(join(kernelFolder(root, kernel), 'vmlinuz'), `Not a kernel, but where one belongs: ${kernel}.\n`);
  await writeInitramfsStandIn(root, kernel);
  await writeFile(join(root, 'usr', 'lib', 'treeline-testbed-release'), `VERSION=${version}\nKERNEL=${kernel}\n`);
  await writeFile(join(root, 'usr', 'etc', 'motd'), `Version ${version} of the operating system, Linux ${kernel}.\n`);
}
