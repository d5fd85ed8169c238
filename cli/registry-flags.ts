/** The flags of every command that talks to a registry, and what they mean. */
import { readFile } from 'node:fs/promises';
import process from 'node:process';
import type { RegistryOptions } from '../registry/index.ts';
import type { Flags, FlagValues } from './command.ts';
import { authFileCandidates, loadCredentials } from './credentials.ts';
import { CliError, sentenceOf } from './errors.ts';
import { VERSION } from './version.ts';

export const REGISTRY_FLAGS = {
  authfile: {
    type: 'string',
    value: 'FILE',
    description:
      'Registry credentials (docker config). Without it, as root: /run/ostree/auth.json, /etc/ostree/auth.json, /usr/lib/ostree/auth.json; else $XDG_RUNTIME_DIR/ostree/auth.json, ~/.config/ostree/auth.json; the first that exists.',
  },
  'certificate-authority': {
    type: 'string',
    value: 'FILE',
    description: 'PEM file with certificate authorities to trust beside those of the system.',
  },
  'plain-http': {
    type: 'string',
    value: 'HOST',
    multiple: true,
    description: 'Speak plain HTTP with this registry (host or host:port).',
  },
} as const satisfies Flags;

/** Throws CliError `FileUnreadable`. */
export async function registryOptions(
  flags: FlagValues<typeof REGISTRY_FLAGS>,
  environment: NodeJS.ProcessEnv,
): Promise<RegistryOptions> {
  const candidates = authFileCandidates(environment, process.getuid?.() ?? 0);
  const credentials = await loadCredentials(flags.authfile, candidates);
  const certificateAuthority = await readOptional(flags['certificate-authority']);
  return {
    userAgent: `treeline/${VERSION}`,
    plainHttpHosts: flags['plain-http'],
    ...(credentials === undefined ? {} : { credentials }),
    ...(certificateAuthority === undefined ? {} : { certificateAuthority }),
  };
}

async function readOptional(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new CliError('FileUnreadable', `The certificate authority cannot be read: ${sentenceOf(cause)}`, { cause });
  }
}
