/** `treeline image prune` in its three spellings: ours and those of the reference tools. */
import { join } from 'node:path';
import { lockSysroot, pruneImages, pruneLayers, Repository, type PruneExtent } from '../../ostree/index.ts';
import { type Command, defineCommand } from '../command.ts';
import { formatBytes } from '../format.ts';
import { inWritableNamespace, inWritableRepository } from '../mount-namespace.ts';
import { REPOSITORY_FLAG } from '../repository-flag.ts';

export const imagePrune = pruneCommand('image prune');
export const imagePruneImages = pruneCommand('image prune-images');

function pruneCommand(name: string): Command {
  return defineCommand({
    name,
    summary: 'Delete the container images that no deployment was made from.',
    description: [
      'Kept is what any deployment needs, booted, staged, pinned or not; what the ref of any tool needs; and the layers of a pull that is under way. With `--and-layers`, those go that an interrupted pull had fetched, wholly or in part.',
      'Images are only names: `--full` frees the space. It waits until nobody else works with the repository.',
    ],
    args: {},
    flags: {
      sysroot: {
        type: 'string',
        value: 'DIR',
        default: '/',
        description: 'The sysroot whose images are looked through.',
      },
      'and-layers': { type: 'boolean', description: 'Then drop the layers that nothing needs any more.' },
      full: { type: 'boolean', description: 'Then delete the objects, too.' },
    },
    examples: [`treeline ${name} --full`, `treeline ${name} --sysroot /mnt/sysroot --and-layers`],
    run: async ({ flags, output, signal, environment }) => {
      const { sysroot } = flags;
      const extent: PruneExtent = flags.full ? 'objects' : flags['and-layers'] ? 'layers' : 'images';
      const repository = Repository.open(join(sysroot, 'ostree/repo'));
      return await inWritableNamespace(sysroot, environment, async () => {
        using _lock = await lockSysroot(sysroot, { signal });
        const { images, layers, objects, bytes } = await pruneImages(repository, { sysroot, extent, signal });
        output.result(
          { removed: images, layers, objects, bytes },
          [
            ...(images.length === 0 ? ['No unreferenced images.'] : images.map((image) => `Removed: ${image}`)),
            ...(extent === 'images' ? [] : [`Removed layers: ${layers}`]),
            ...(extent === 'objects' ? [`Removed objects: ${objects}`] : []),
            ...(extent === 'objects' || bytes > 0 ? [`Freed: ${formatBytes(bytes)}`] : []),
          ].join('\n'),
        );
      });
    },
  });
}

export const imagePruneLayers = defineCommand({
  name: 'image prune-layers',
  summary: 'Drop the layers that nothing in an OSTree repository needs.',
  description: [
    'Done by itself after every pull. The space is freed by the next `treeline image prune --full` or `ostree prune`.',
  ],
  args: {},
  flags: REPOSITORY_FLAG,
  examples: ['treeline image prune-layers --repo /ostree/repo'],
  run: async ({ flags, output, environment }) =>
    inWritableRepository(flags.repo, environment, async () => {
      const layers = await pruneLayers(Repository.open(flags.repo));
      output.result({ layers }, `Removed layers: ${layers}`);
    }),
});
