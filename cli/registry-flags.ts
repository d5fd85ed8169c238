/** The flags of every command that talks to a registry, and what they mean. */
import { readFile } from 'node:fs/promises';
import process from 'node:process';
import { readHostConfiguration, type RegistryOptions } from '../registry/index.ts';
import type { Flags, FlagValues } from './command.ts';
import { CliError, sentenceOf } from './errors.ts';
import type { Output } from './output.ts';
import { VERSION } from './version.ts';

export const REGISTRY_FLAGS = {
  authfile: {
    type: 'string',
    value: 'FILE',
    description:
      'Registry credentials (docker config). Without it, as root: /run/ostree/auth.json, /etc/ostree/auth.json, /usr/lib/ostree/auth.json; else $XDG_RUNTIME_DIR/ostree/auth.json, ~/.config/ostree/auth.json; the first that exists.',
  },
  'auth-anonymous': { type: 'boolean', description: 'Use no credentials at all.' },
  'cert-dir': {
    type: 'string',
    value: 'DIR',
    description:
      'Certificates (*.crt, and *.cert with *.key) for every registry, instead of those in /etc/containers/certs.d and /etc/docker/certs.d.',
  },
  'insecure-skip-tls-verification': {
    type: 'boolean',
    description: 'Do not verify certificates; speak plain HTTP with registries that do not speak TLS.',
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

/**
 * What the flags and the machine say about registries; warnings go to `output`.
 * Throws CliError `Usage` or `FileUnreadable`, RegistryError `InvalidConfiguration` or `InvalidCredentials`.
 */
export async function registryOptions(
  flags: FlagValues<typeof REGISTRY_FLAGS>,
  environment: NodeJS.ProcessEnv,
  output?: Output,
): Promise<RegistryOptions> {
  const { authfile, 'auth-anonymous': anonymous, 'cert-dir': certificateDirectory } = flags;
  if (authfile !== undefined && anonymous)
    throw new CliError('Usage', '--authfile and --auth-anonymous contradict each other; leave one out.');
  const machine = { root: '/', environment, uid: process.getuid?.() ?? 0 };
  const configuration = await readHostConfiguration(machine, {
    anonymous,
    ...(authfile === undefined ? {} : { authfile }),
  });
  const certificateAuthority = await readOptional(flags['certificate-authority']);
  const onWarning = (message: string): void => output?.remark(`Note: ${message}.`);
  for (const warning of configuration.registries?.warnings ?? []) onWarning(warning);
  return {
    ...configuration,
    userAgent: `treeline/${VERSION}`,
    plainHttpHosts: flags['plain-http'],
    skipTlsVerification: flags['insecure-skip-tls-verification'],
    onWarning,
    ...(certificateDirectory === undefined ? {} : { certificateDirectory }),
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
