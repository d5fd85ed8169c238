/** `treeline diff`: what changes from one operating system to another. */
import { ociArchitecture } from '../../node-agent/index.ts';
import { compareContent, type FetchProgress, Repository } from '../../ostree/index.ts';
import { defineCommand } from '../command.ts';
import { difference } from '../diff/difference.ts';
import { differencePage } from '../diff/page.ts';
import { openSide } from '../diff/side.ts';
import { differenceText } from '../diff/text.ts';
import { REGISTRY_FLAGS, registryOptions } from '../registry-flags.ts';
import { writeWholeFile } from '../written-file.ts';

export const diff = defineCommand({
  name: 'diff',
  summary: 'Compare two operating systems: packages, layers, bytes to pull.',
  description: [
    'Packages that were added, removed or updated, with their versions and installed sizes; the layers that the two images share; and the bytes that a host on A fetches to come to B.',
    'With --repo, A and B may be refs or commits of the repository, or images that it holds; what it does not hold is looked up where it is, in registries or files. Of such an image only manifest and config are fetched: the annotations of chunked images tell names of packages, but no versions. --fetch-packages also fetches the layers that hold the package databases; nothing is written anywhere.',
  ],
  args: { A: 'An image, or with --repo a ref or a commit: the one before.', B: 'The one after.' },
  flags: {
    repo: { type: 'string', value: 'DIR', description: 'An OSTree repository in which to look first.' },
    'fetch-packages': {
      type: 'boolean',
      description: 'Fetch the layers that hold the package databases of images that are not in the repository.',
    },
    html: {
      type: 'string',
      value: 'FILE',
      description: 'Also write the comparison as a page for a browser, which needs nothing but that file.',
    },
    architecture: {
      type: 'string',
      value: 'ARCH',
      description: "Compare the images of this architecture (amd64, arm64, …) instead of the machine's own.",
    },
    ...REGISTRY_FLAGS,
  },
  examples: [
    'treeline diff quay.io/example/os:1 quay.io/example/os:2',
    'treeline diff --fetch-packages --html changes.html quay.io/example/os:1 quay.io/example/os:2',
    'treeline diff --repo repo exampleos/stable exampleos/testing',
  ],
  run: async ({ flags, args, output, signal, environment }) => {
    const registry = await registryOptions(flags, environment, output);
    const repository = flags.repo === undefined ? undefined : Repository.open(flags.repo);
    using display = output.progress();
    const options = {
      repository,
      registry,
      platform: { os: 'linux', architecture: flags.architecture ?? ociArchitecture() },
      fetchPackages: flags['fetch-packages'],
      onProgress: (progress: FetchProgress) => display.update({ stage: 'Fetching', ...progress }),
      signal,
    };
    const from = await openSide(args.A, options);
    const to = await openSide(args.B, options);
    const content =
      repository !== undefined && from.commit !== undefined && to.commit !== undefined
        ? await compareContent(repository, from.commit, to.commit)
        : undefined;
    const found = difference(from, to, content);
    display[Symbol.dispose]();
    if (flags.html !== undefined) await writeWholeFile(flags.html, differencePage(found));
    output.result(found, differenceText(found));
    return 0;
  },
});
