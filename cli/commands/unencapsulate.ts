/** `treeline unencapsulate`: the commit in an image, and nothing of the container around it. */
import { assertRefName, OstreeError, pruneLayers, readStoredImage, Repository } from '../../ostree/index.ts';
import { formatOstreeImageReference, parseAnyImageReference } from '../../registry/index.ts';
import { defineCommand } from '../command.ts';
import { sentenceOf } from '../errors.ts';
import { LIMIT_FLAGS, limitOptions } from '../limit-flags.ts';
import { inWritableRepository } from '../mount-namespace.ts';
import type { Output } from '../output.ts';
import { pullFor } from '../pull.ts';
import { REGISTRY_FLAGS, registryOptions } from '../registry-flags.ts';
import { REPOSITORY_FLAG } from '../repository-flag.ts';

/** Another pull may be at work for long; then it is the one that collects. */
const COLLECTION_PATIENCE_MS = 5000;

export const unencapsulate = defineCommand({
  name: 'unencapsulate',
  summary: 'Import the OSTree commit that a container image was made of.',
  description: [
    'The commit is the one that was encapsulated, with the same checksum; the repository gets no image. An image with layers on top of its commit is refused: `treeline image pull` merges them.',
  ],
  args: { REF: 'The image, in any form that `treeline image pull` takes.' },
  flags: {
    ...REPOSITORY_FLAG,
    'write-ref': {
      type: 'string',
      value: 'BRANCH',
      description:
        'Point this ref of the repository at the commit. Without one, the next `ostree prune` takes the commit away.',
    },
    quiet: { type: 'boolean', description: 'Show no progress.' },
    ...LIMIT_FLAGS,
    ...REGISTRY_FLAGS,
  },
  examples: ['treeline unencapsulate --repo repo --write-ref exampleos/x86_64/stable quay.io/example/os:stable'],
  run: async ({ flags, args, output, signal, environment }) => {
    const { repo, quiet, 'write-ref': branch } = flags;
    const limits = limitOptions(flags);
    const registry = await registryOptions(flags, environment, output);
    const reference = parseAnyImageReference(args.REF, registry.registries);
    if (branch !== undefined) assertRefName(branch);
    return await inWritableRepository(repo, environment, async () => {
      const request = {
        repository: repo,
        reference,
        storeAs: 'nowhere',
        registry,
        merge: { allowUnsignedLayers: false },
        limits,
        requireBootable: false,
        requireBareCommit: true,
        quiet,
      } as const;
      const repository = Repository.open(repo);
      const { commit, manifestDigest } = await pullFor(request, output, signal, async (pulled) => {
        const { baseCommit } = readStoredImage(repository, pulled.mergeCommit);
        if (branch !== undefined) await repository.setRef(branch, baseCommit);
        return { commit: baseCommit, manifestDigest: pulled.manifestDigest };
      });
      await tidy(repository, output, signal);
      output.result(
        {
          image: formatOstreeImageReference(reference),
          manifestDigest,
          commit,
          ...(branch !== undefined && { ref: branch }),
        },
        `Imported: ${branch === undefined ? '' : `${branch} => `}${commit}`,
      );
    });
  },
});

/** What the commit was imported from is not needed any more; that somebody else is at work there is no failure. */
async function tidy(repository: Repository, output: Output, signal: AbortSignal): Promise<void> {
  try {
    await pruneLayers(repository, { timeoutMs: COLLECTION_PATIENCE_MS, signal });
  } catch (error) {
    if (!(error instanceof OstreeError)) throw error;
    output.remark(`Note: layers that are no longer needed were kept until the next pull: ${sentenceOf(error)}`);
  }
}
