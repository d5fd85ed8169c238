/** `treeline rechunk`: whatever layers an image has, its tree becomes an image in layers that suit updates. */
import { join } from 'node:path';
import { ociArchitecture } from '../../node-agent/index.ts';
import { encapsulate, Repository, withFlattenedImage } from '../../ostree/index.ts';
import {
  formatImageReference,
  openImageDestination,
  openImageSource,
  parseAnyImageReference,
  ScratchDirectory,
} from '../../registry/index.ts';
import { CHUNKING_FLAGS, chunkingOf, chunkingRequest } from '../chunking.ts';
import { defineCommand } from '../command.ts';
import { describeWritten, DESTINATION_ARGUMENT, IMAGE_FLAGS, imageOptions, writingProgress } from '../image-flags.ts';
import { openPrevious } from '../previous-image.ts';
import type { ProgressDisplay } from '../progress-display.ts';
import { REGISTRY_FLAGS, registryOptions } from '../registry-flags.ts';

export const rechunk = defineCommand({
  name: 'rechunk',
  summary: 'Make a fresh image, in layers by package, of any bootable image.',
  description: [
    'SRC may be an image of an OSTree commit, one that was built FROM it with any number of layers on top, or an ordinary bootc image. DEST has the same tree: an import of either gives the same content. Without layers on top the commit stays the same one, signatures included; else there is a new one, with the time of the image.',
    'Labels of SRC are kept, but for those about layers and commits that are no more (ostree.*, rpmostree.*, io.buildah.*, org.chunkah.*, dev.hhd.rechunk.*); so is how it runs as a container. The history is that of the new layers. The same SRC and flags always give the same digest.',
  ],
  args: {
    SRC: 'The image, over any transport.',
    DEST: DESTINATION_ARGUMENT,
  },
  flags: {
    repo: {
      type: 'string',
      value: 'DIR',
      description:
        'Import SRC into this repository, which keeps it: the next one fetches only what is new. Otherwise into one in --scratch, which is removed.',
    },
    scratch: {
      type: 'string',
      value: 'DIR',
      default: '/var/tmp',
      description: 'Where there is room for the files of the image while it is made anew.',
    },
    'drop-label': { type: 'string', value: 'KEY', multiple: true, description: 'Do not keep this label of SRC.' },
    architecture: {
      type: 'string',
      value: 'ARCH',
      description: "Of several images behind SRC the one for this architecture, instead of the machine's own.",
    },
    ...IMAGE_FLAGS,
    ...CHUNKING_FLAGS,
    ...REGISTRY_FLAGS,
  },
  examples: [
    'treeline rechunk quay.io/example/custom:1 quay.io/example/os:1',
    'treeline rechunk --previous quay.io/example/os:1 containers-storage:localhost/custom quay.io/example/os:2',
  ],
  run: async ({ flags, args, output, signal, environment }) => {
    const options = imageOptions(flags);
    const request = chunkingRequest(flags);
    const registry = { ...(await registryOptions(flags, environment, output)), scratchDirectory: flags.scratch };
    const reference = parseAnyImageReference(args.SRC, registry.registries);
    const { image } = parseAnyImageReference(args.DEST, registry.registries);
    const platform = { os: 'linux', architecture: flags.architecture ?? ociArchitecture() };

    // Before the work: what is misspelt should show at once.
    await using previous = await openPrevious(flags.previous, { platform, registry, signal });
    await using stack = new AsyncDisposableStack();
    const repository = await openRepository(flags.repo, flags.scratch, stack);
    using display = output.progress();
    await using source = openImageSource(reference.image, registry);
    const onWarning = (message: string): void => output.remark(`Note: ${message}.`);
    const from = { repository, source, reference, platform, onWarning, signal };
    const onProgress: ProgressDisplay['update'] = (progress) => display.update(progress);
    const { flattened, written } = await withFlattenedImage({ ...from, onProgress }, async (flattened) => {
      const { commit } = flattened;
      const chunking = await chunkingOf(request, { repository, commit, previous, output });
      const kept = Object.entries(flattened.labels).filter(([key]) => !flags['drop-label'].includes(key));
      await using destination = openImageDestination(image, { ...registry, mountFrom: previous?.mountFrom ?? [] });
      const written = await encapsulate({
        repository,
        rev: commit,
        destination,
        platform,
        chunks: chunking.chunks,
        created: chunking.created,
        earlier: previous?.earlier,
        ...options,
        config: flattened.config,
        labels: { ...Object.fromEntries(kept), ...chunking.labels, ...options.labels },
        onProgress: (progress) => display.update(writingProgress(progress)),
        signal,
      });
      return { flattened, written };
    });
    display[Symbol.dispose]();
    const name = formatImageReference(image);
    output.result(
      { image: name, source: flattened.manifestDigest, ...written },
      `Wrote ${name}\n  Digest: ${written.manifestDigest}\n  Commit: ${written.commit}${flattened.isOriginal ? ', as it was' : ''}\n  ${describeWritten(written)}`,
    );
    return 0;
  },
});

async function openRepository(
  path: string | undefined,
  scratchParent: string,
  stack: AsyncDisposableStack,
): Promise<Repository> {
  if (path !== undefined) return Repository.open(path);
  const scratch = stack.use(await ScratchDirectory.create(scratchParent));
  // Needs no rights, and keeps owners and attributes as what they are called.
  return Repository.create(join(scratch.path, 'repo'), 'bare-user');
}
