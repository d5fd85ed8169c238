/** `treeline fsck`. */
import { ociArchitecture } from '../../node-agent/index.ts';
import { examine, type Examination, repair, Repository } from '../../ostree/index.ts';
import { openImageSource, parseAnyImageReference } from '../../registry/index.ts';
import { defineCommand } from '../command.ts';
import { EXIT } from '../errors.ts';
import { formatBytes } from '../format.ts';
import { inWritableRepository } from '../mount-namespace.ts';
import type { Output } from '../output.ts';
import { REGISTRY_FLAGS, registryOptions } from '../registry-flags.ts';
import { REPOSITORY_FLAG } from '../repository-flag.ts';

/** Directories of objects in any repository. */
const DIRECTORIES = 256;

export const fsck = defineCommand({
  name: 'fsck',
  summary: 'Verify an OSTree repository with its images, and repair it.',
  description: [
    'Reads every object and compares it with its name, by content, owner, mode and attributes; then commits with what they refer to, refs, images and the refs of their layers. Others may go on writing meanwhile.',
    '`--repair` deletes damaged objects, marks the commits that lack something, and fetches from the registry just the layers with what is lost, by their digests, even if the name of the image means another one by now. Then everything is verified again. A deployment that shares a damaged file keeps it until it is deployed again.',
    'The exit status is 1 when problems are left; the result, also in JSON, is on standard output in both cases.',
  ],
  args: {},
  flags: {
    ...REPOSITORY_FLAG,
    image: { type: 'string', value: 'IMGREF', description: 'Verify only this image and what it needs.' },
    repair: { type: 'boolean', description: 'Repair what can be fetched again.' },
    ...REGISTRY_FLAGS,
  },
  examples: [
    'treeline fsck --repo /ostree/repo',
    'treeline fsck --repo /ostree/repo --repair',
    'treeline fsck --repo /ostree/repo --image quay.io/example/os:stable -o json',
  ],
  run: async ({ flags, output, signal, environment }) => {
    const registry = await registryOptions(flags, environment, output);
    const image = flags.image === undefined ? undefined : parseAnyImageReference(flags.image).image;
    const work = async (): Promise<number> => {
      const options = { repository: Repository.open(flags.repo), signal, ...(image !== undefined && { image }) };
      const first = await withProgress(output, (onProgress) => examine({ ...options, onProgress }));
      if (!flags.repair || first.problems.length === 0) return report(output, flags.repo, first);
      for (const { message } of first.problems) output.remark(`Found: ${message}.`);
      const steps: string[] = [];
      const last = await withProgress(output, (onProgress) =>
        repair(first, {
          ...options,
          onProgress,
          architecture: ociArchitecture(),
          openSource: (reference) => openImageSource(reference, registry),
          onStep: (step) => {
            steps.push(step);
            output.remark(step);
          },
        }),
      );
      return report(output, flags.repo, last, { before: first, steps });
    };
    return flags.repair ? await inWritableRepository(flags.repo, environment, work) : await work();
  },
});

async function withProgress(
  output: Output,
  work: (
    onProgress: (progress: { directoriesDone: number; objects: number; bytes: number }) => void,
  ) => Promise<Examination>,
): Promise<Examination> {
  using display = output.progress();
  return await work(({ directoriesDone, objects, bytes }) =>
    display.update({
      stage: 'Verifying',
      layersDone: 0,
      layersTotal: 0,
      bytesDone: directoriesDone,
      bytesTotal: DIRECTORIES,
      detail: `${objects} objects, ${formatBytes(bytes)}`,
    }),
  );
}

function report(
  output: Output,
  path: string,
  { objects, bytes, commits, partialCommits, problems }: Examination,
  repaired?: { readonly before: Examination; readonly steps: readonly string[] },
): number {
  const partial = partialCommits === 0 ? '' : `, ${partialCommits} of them partial`;
  const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
  const verdict =
    problems.length > 0
      ? `${count}${repaired === undefined ? '; `--repair` fetches again what it can' : ' left'}.`
      : repaired === undefined
        ? 'No problems.'
        : `All of ${repaired.before.problems.length} problems repaired.`;
  output.result(
    {
      repository: path,
      objects,
      bytes,
      commits,
      partialCommits,
      problems,
      ...(repaired !== undefined && { repaired: { problems: repaired.before.problems, steps: repaired.steps } }),
    },
    [
      `Verified ${objects} objects with ${formatBytes(bytes)} of content, ${commits} commits${partial}.`,
      ...problems.map(({ kind, message }) => `${kind}: ${message}.`),
      verdict,
    ].join('\n'),
  );
  return problems.length === 0 ? EXIT.ok : EXIT.failure;
}
