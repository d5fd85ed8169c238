/** `treeline trusted-root`: what a signature policy pins, from the TUF repository of a sigstore. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { digestOf } from '../../registry/index.ts';
import { defineCommand } from '../command.ts';
import { CliError, EXIT } from '../errors.ts';
import { isSame, type PinnedRoot, pinnedRoots } from '../trusted-root/pinned-roots.ts';
import { fetchTrustedRoot } from '../trusted-root/tuf-repository.ts';
import { writeWholeFile } from '../written-file.ts';
import { readText } from './sign.ts';

/** The only mirror whose root.json the library brings along. */
const PUBLIC_MIRROR = 'https://tuf-repo-cdn.sigstore.dev';

export const trustedRoot = defineCommand({
  name: 'trusted-root',
  summary: 'Fetch the trusted root of a sigstore, or check a pinned one.',
  description: [
    'Asks a TUF repository for its trusted_root.json and verifies what it says: by the keys of a root.json that is known beforehand, and each later one by those of the one before. What is expired, older than what was seen before, changed, or not signed by enough keys is refused. The file is written to standard output, or to --out, for the `trustedRoot` of an OSImage or a signature policy, or for `treeline verify --trusted-root`.',
    'With --check nothing is written. The exit status is 0 when all that the file pins is what the repository has, and 1 when something is not, which stands on standard output; when the repository could not be asked, it is 1 with an error.',
    'Neither the operator nor agents do this by themselves: what is pinned counts until somebody replaces it. The proxies of the environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY) are used.',
  ],
  args: {},
  flags: {
    mirror: {
      type: 'string',
      value: 'URL',
      default: PUBLIC_MIRROR,
      description: 'The TUF repository. Another one than that of the public sigstore needs --root.',
    },
    root: {
      type: 'string',
      value: 'FILE',
      description:
        'The root.json to start from, got once by a way that is trusted. That of the public sigstore is built in.',
    },
    out: { type: 'string', value: 'FILE', description: 'Write the trusted root there; all of it, or nothing.' },
    check: {
      type: 'string',
      value: 'FILE',
      description:
        'Only compare: a trusted_root.json, a signature policy, or OSImages, in JSON or YAML. Spaces do not count.',
    },
    authority: {
      type: 'string',
      value: 'NAME',
      multiple: true,
      description: 'With --check: only look at this authority of the policy; others may be of another sigstore.',
    },
    'certificate-authority': {
      type: 'string',
      value: 'FILE',
      description: 'PEM file with certificate authorities to trust beside those of the system, for the mirror.',
    },
    cache: {
      type: 'string',
      value: 'DIR',
      description:
        'What the repository said is remembered there, so that something older is noticed the next time: keep it. Default: $XDG_DATA_HOME/treeline/tuf, else ~/.local/share/treeline/tuf.',
    },
  },
  examples: [
    'treeline trusted-root --out trusted_root.json',
    'treeline trusted-root --check signature-policy.yaml',
    'treeline trusted-root --mirror https://tuf.example.com --root root.json --check osimage.yaml --authority pipeline',
  ],
  run: async ({ flags, output, signal, environment }) => {
    const { check, out } = flags;
    if (check !== undefined && out !== undefined)
      throw new CliError('Usage', '--check writes nothing; leave out --out.');
    if (check === undefined && flags.authority.length > 0)
      throw new CliError('Usage', '--authority is about a file to --check.');
    const mirror = mirrorOf(flags.mirror);
    if (mirror !== PUBLIC_MIRROR && flags.root === undefined)
      throw new CliError('Usage', `What is ${mirror} to be believed by? Give its root.json with --root.`);
    // Before anybody is asked: a file that cannot be compared needs no answer.
    const pinned = check === undefined ? undefined : chosen(await pins(check), flags.authority, check);
    const text = await fetchTrustedRoot({
      mirror,
      root: flags.root,
      cache: flags.cache ?? defaultCache(environment),
      environment,
      authorities: await authoritiesOf(flags['certificate-authority']),
      signal,
    });
    const found = { mirror, digest: digestOf(Buffer.from(text)) };
    if (pinned !== undefined) {
      const compared = pinned.map((pin) => ({ where: pin.where, current: isSame(pin, text) }));
      const current = compared.every((one) => one.current);
      output.result(
        { ...found, current, pinned: compared },
        compared
          .map(({ where, current: same }) => `${where}: ${same ? 'current' : `not what ${mirror} has: replace it`}`)
          .join('\n'),
      );
      return current ? EXIT.ok : EXIT.failure;
    }
    if (out === undefined) output.result({ ...found, trustedRoot: text }, text.replace(/\n$/, ''));
    else {
      await writeWholeFile(out, text);
      output.result({ ...found, file: out }, `Wrote ${out}: the trusted root of ${mirror}, ${found.digest}`);
    }
    return EXIT.ok;
  },
});

/** Throws CliError `Usage`. */
function mirrorOf(text: string): string {
  const protocol = URL.canParse(text) ? new URL(text).protocol : '';
  if (protocol === 'https:' || protocol === 'http:') return text.replace(/\/+$/, '');
  throw new CliError('Usage', `--mirror takes an https or http URL, not ${text}.`);
}

async function pins(path: string): Promise<readonly PinnedRoot[]> {
  return pinnedRoots(await readText(path), path);
}

/** Throws CliError `InvalidFile` for an authority that is not there. */
function chosen(pinned: readonly PinnedRoot[], names: readonly string[], path: string): readonly PinnedRoot[] {
  for (const name of names) {
    if (!pinned.some(({ authority }) => authority === name))
      throw new CliError('InvalidFile', `${path} has no authority ${name} with a trusted root.`);
  }
  return names.length === 0 ? pinned : pinned.filter(({ authority = '' }) => names.includes(authority));
}

function defaultCache(environment: NodeJS.ProcessEnv): string {
  const data = environment['XDG_DATA_HOME'] || join(environment['HOME'] || homedir(), '.local', 'share');
  return join(data, 'treeline', 'tuf');
}

async function authoritiesOf(path: string | undefined): Promise<readonly string[]> {
  if (path === undefined) return [];
  const { getCACertificates } = await import('node:tls');
  return [...getCACertificates('default'), await readText(path)];
}
