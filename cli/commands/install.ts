/** `treeline install`: an empty disk becomes one that boots the operating system of an image. */
import { readFile } from 'node:fs/promises';
import { commandRunner, ociArchitecture } from '../../node-agent/index.ts';
import {
  formatOstreeImageReference,
  openImageSource,
  parseAnyImageReference,
  parseOstreeImageReference,
} from '../../registry/index.ts';
import { defineCommand } from '../command.ts';
import { CliError, sentenceOf } from '../errors.ts';
import { formatBytes, shortDigest } from '../format.ts';
import { findBootCode } from '../install/boot-loader.ts';
import { openDisk, requireEmpty, wipe } from '../install/disk.ts';
import { layOut } from '../install/disk-layout.ts';
import { installImage } from '../install/install-image.ts';
import { requireTools } from '../install/tools.ts';
import { LIMIT_FLAGS, limitOptions } from '../limit-flags.ts';
import { MERGE_FLAGS, mergeOptions } from '../merge-flags.ts';
import { inOwnMountNamespace } from '../mount-namespace.ts';
import { describeCost } from '../pull.ts';
import { REGISTRY_FLAGS, registryOptions } from '../registry-flags.ts';
import { parseSize } from '../size.ts';
import { requireRoot } from '../target.ts';

/** Where Debian keeps half of the tools, and root's PATH may not lead. */
const SYSTEM_FOLDERS = '/usr/sbin:/sbin';

export const install = defineCommand({
  name: 'install',
  summary: 'Put the operating system of a container image on an empty disk.',
  description: [
    'Divides the disk, makes a file system for kernels (512 MiB) and one for all the rest, imports the image, deploys it, and installs syslinux, which libostree keeps up to date from then on. For machines that boot with BIOS, from an MBR: UEFI is not supported yet. Everything is checked, and the image is looked up, before anything on the disk is changed; a disk that is mounted, in use, or not empty is left alone. An installation that fails half-way leaves a disk that does not boot; repeat it with --wipe.',
  ],
  args: {},
  flags: {
    image: {
      type: 'string',
      value: 'REF',
      required: true,
      description:
        'The image: host/name:tag, docker://…, oci:DIR[:TAG], another transport of containers-transports(5), or an OSTree container reference.',
    },
    disk: {
      type: 'string',
      value: 'FILE|DEVICE',
      required: true,
      description: 'The whole disk, such as /dev/sda, or a file that holds the image of one.',
    },
    size: {
      type: 'string',
      value: 'SIZE',
      description: 'Make the file, sparse and of this size, such as 10G; K, M and G are powers of 1024.',
    },
    wipe: { type: 'boolean', description: 'Destroy what is on the disk.' },
    target: {
      type: 'string',
      value: 'REF',
      description: 'What the host follows for its updates, as an OSTree container reference. Default: the image.',
    },
    os: { type: 'string', value: 'STATEROOT', default: 'default', description: 'Name of the stateroot.' },
    karg: {
      type: 'string',
      value: 'ARGUMENT',
      multiple: true,
      description: 'Kernel argument, after root=UUID=… and rw.',
    },
    'root-ssh-authorized-keys': {
      type: 'string',
      value: 'FILE',
      description: 'Public keys with which root may log in, as in ~/.ssh/authorized_keys.',
    },
    ...MERGE_FLAGS,
    ...LIMIT_FLAGS,
    ...REGISTRY_FLAGS,
  },
  examples: [
    'treeline install --image quay.io/example/os:stable --disk /dev/sda --root-ssh-authorized-keys ~/.ssh/id_ed25519.pub',
    'treeline install --image oci-archive:os.ociarchive --target ostree-unverified-registry:quay.io/example/os:stable --disk disk.img --size 10G --karg console=ttyS0',
  ],
  run: async ({ flags, output, signal, environment }) => {
    requireRoot();
    const { os: stateroot, karg: kernelArguments } = flags;
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(stateroot)) {
      throw new CliError('Usage', `--os takes a name of letters, digits, dots and dashes, not ${stateroot}.`);
    }
    const size = flags.size === undefined ? undefined : parseSize('--size', flags.size);
    if (size !== undefined) layOut(flags.disk, size);
    const merge = mergeOptions(flags);
    const limits = limitOptions(flags);
    const registry = await registryOptions(flags, environment, output);
    const reference = parseAnyImageReference(flags.image, registry.registries);
    const target = flags.target === undefined ? reference : parseOstreeImageReference(flags.target);
    const rootKeys = await readKeys(flags['root-ssh-authorized-keys']);
    requireTools(`${environment['PATH'] ?? ''}:${SYSTEM_FOLDERS}`);
    const bootCode = findBootCode();
    return await inOwnMountNamespace(environment, async () => {
      const run = commandRunner(['env', `PATH=${environment['PATH'] ?? ''}:${SYSTEM_FOLDERS}`]);
      {
        await using source = openImageSource(reference.image, registry);
        await source.resolve({ os: 'linux', architecture: ociArchitecture() }, signal);
      }
      const disk = await openDisk(flags.disk, size);
      const layout = layOut(flags.disk, disk.bytes);
      if (!flags.wipe) await requireEmpty(disk, run);
      output.remark(`Dividing ${disk.path} (${formatBytes(disk.bytes)}) and making its file systems.`);
      await wipe(disk, run);
      const pull = { reference, registry, merge, limits, requireBootable: true };
      const installed = await installImage(
        {
          disk: disk.path,
          layout,
          pull,
          target,
          stateroot,
          kernelArguments,
          bootCode,
          ...(rootKeys === undefined ? {} : { rootKeys }),
        },
        run,
        output,
        signal,
      );
      const { pulled, ...where } = installed;
      const image = formatOstreeImageReference(target);
      const version = pulled.version === undefined ? '' : ` (version ${pulled.version})`;
      output.result(
        { action: 'Installed', disk: disk.path, image, stateroot, ...where, ...pulled },
        `Installed ${image}${version}, ${shortDigest(pulled.manifestDigest)}, on ${disk.path}: ${describeCost(pulled)}. It boots.`,
      );
    });
  },
});

async function readKeys(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new CliError('FileUnreadable', `The keys of root cannot be read: ${sentenceOf(cause)}`, { cause });
  });
  if (text.includes('PRIVATE KEY')) {
    throw new CliError('Usage', `${path} is a private key; give the public one, whose name ends in .pub.`);
  }
  return text;
}
