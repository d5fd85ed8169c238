/** `treeline image pull`: an image becomes a merge commit in a repository, without touching any deployment. */
import { formatOstreeImageReference, parseAnyImageReference } from '../../registry/index.ts';
import { defineCommand } from '../command.ts';
import { CliError } from '../errors.ts';
import { LIMIT_FLAGS, limitOptions } from '../limit-flags.ts';
import { MERGE_FLAGS, mergeOptions } from '../merge-flags.ts';
import { inWritableRepository } from '../mount-namespace.ts';
import { describeCost, pull } from '../pull.ts';
import { REGISTRY_FLAGS, registryOptions } from '../registry-flags.ts';
import { check, describeCheck } from '../update-check.ts';
import { writeWholeFile } from '../written-file.ts';

export const imagePull = defineCommand({
  name: 'image pull',
  summary: 'Import a container image into an OSTree repository.',
  description: [
    'Fetches only the layers that the repository lacks, of zstd:chunked layers only the files, checks every digest, and writes the merge commit and refs by which rpm-ostree, bootc and `ostree` recognise the image. A pull that was cut off goes on with the layers that it lacked; with a large one that came slowly, where it ended.',
    'As with the reference tools, the repository may also stand before REF instead of after `--repo`.',
  ],
  args: {
    REF: 'The image: host/name:tag, docker://…, oci:DIR[:TAG], another transport of containers-transports(5), or an OSTree container reference such as ostree-unverified-registry:host/name:tag.',
  },
  more: { max: 1 },
  flags: {
    repo: { type: 'string', value: 'DIR', description: 'The OSTree repository.' },
    check: {
      type: 'string',
      value: 'FILE',
      description:
        'Only look for an update, as `treeline image check` does; if there is one, or nothing was pulled yet, write its manifest to FILE.',
    },
    'ostree-digestfile': {
      type: 'string',
      value: 'FILE',
      description: 'Write the checksum of the commit to FILE, without a newline.',
    },
    quiet: { type: 'boolean', description: 'Show no progress.' },
    architecture: {
      type: 'string',
      value: 'ARCH',
      description: "Take the image for this architecture (amd64, arm64, …) instead of the machine's own.",
    },
    ...MERGE_FLAGS,
    ...LIMIT_FLAGS,
    ...REGISTRY_FLAGS,
  },
  examples: [
    'treeline image pull --repo /ostree/repo quay.io/example/os:stable',
    'treeline image pull /ostree/repo ostree-unverified-registry:quay.io/example/os:stable',
  ],
  run: async ({ flags, args, more, output, signal, environment }) => {
    const { repository, text } = repositoryAndImage(flags.repo, args.REF, more);
    const merge = mergeOptions(flags);
    const limits = limitOptions(flags);
    const registry = await registryOptions(flags, environment, output);
    const reference = parseAnyImageReference(text, registry.registries);
    const image = formatOstreeImageReference(reference);
    const { architecture, quiet, check: manifestFile, 'ostree-digestfile': digestFile } = flags;
    const request = { repository, reference, registry, ...(architecture !== undefined && { architecture }) };
    return await inWritableRepository(repository, environment, async () => {
      if (manifestFile !== undefined) {
        const { manifest, ...found } = await check(request, signal);
        if (found.status !== 'UpToDate') await writeWholeFile(manifestFile, manifest);
        output.result({ image, ...found }, describeCheck(image, { manifest, ...found }));
        return;
      }
      const pulled = await pull({ ...request, merge, limits, requireBootable: false, quiet }, output, signal);
      if (digestFile !== undefined) await writeWholeFile(digestFile, pulled.mergeCommit);
      output.result(
        { image, ...pulled },
        `Imported ${image}\n  Digest: ${pulled.manifestDigest}\n  Commit: ${pulled.mergeCommit}\n  ${describeCost(pulled).replace(/^./, (letter) => letter.toUpperCase())}.`,
      );
    });
  },
});

/** Ours is `--repo REPO REF`, that of the reference tools `REPO REF`. */
function repositoryAndImage(
  repository: string | undefined,
  first: string,
  [second, ...more]: readonly string[],
): { readonly repository: string; readonly text: string } {
  const hint = '`treeline image pull --help` shows what it takes';
  if (repository === undefined) {
    if (second === undefined) throw new CliError('Usage', `--repo DIR is missing; ${hint}.`);
    return { repository: first, text: second };
  }
  const extra = second ?? more[0];
  if (extra !== undefined) throw new CliError('Usage', `${extra} is one argument too many; ${hint}.`);
  return { repository, text: first };
}
