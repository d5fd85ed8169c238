/**
 * Asks `docker-credential-NAME get`, the program that a docker-config file names in `credHelpers` or `credsStore` (the
 * docker-credential-helpers protocol: a host on standard input, a JSON object on standard output).
 */
import { spawn } from 'node:child_process';
import * as z from 'zod';
import type { Credential } from './credentials.ts';
import { printable, RegistryError } from './errors.ts';

/** A helper that asks a person, or a cloud that does not answer, must not stop a pull for ever. */
const DEADLINE_MS = 30_000;
const OUTPUT_MAX_BYTES = 64 * 1024;
/** The user name of an OAuth 2 refresh token. */
const TOKEN_USER = '<token>';
const ANSWER = z.object({ Username: z.string(), Secret: z.string() });

/**
 * @returns undefined when the helper knows no credential for this host.
 * @throws RegistryError `InvalidCredentials`; the message never quotes a secret.
 */
export async function askCredentialHelper(
  name: string,
  host: string,
  environment: NodeJS.ProcessEnv,
  deadlineMs = DEADLINE_MS,
): Promise<Credential | undefined> {
  const program = `docker-credential-${name}`;
  // Docker Hub goes by the address of its first API.
  const server = host === 'docker.io' ? 'https://index.docker.io/v1/' : host;
  const { output, status } = await run(program, server, environment, deadlineMs);
  if (status !== 0) {
    // The protocol's own words for "none".
    if (output.includes('credentials not found')) return undefined;
    throw failed(program, host, `ends with status ${status}: ${printable(output) || 'it says nothing'}`);
  }
  const answer = ANSWER.safeParse(parseJson(output));
  if (!answer.success) throw failed(program, host, 'does not answer with a user name and a secret');
  const { Username: username, Secret: secret } = answer.data;
  if (username === TOKEN_USER) return { kind: 'identity-token', token: secret };
  return username === '' && secret === '' ? undefined : { kind: 'basic', username, password: secret };
}

async function run(
  program: string,
  input: string,
  environment: NodeJS.ProcessEnv,
  deadlineMs: number,
): Promise<{ output: string; status: number | string }> {
  const child = spawn(program, ['get'], { env: environment, stdio: ['pipe', 'pipe', 'ignore'] });
  let output = '';
  let isTooLong = false;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    isTooLong ||= output.length > OUTPUT_MAX_BYTES;
    if (isTooLong) child.kill('SIGKILL');
  });
  // A helper that does not read its input says so with its status.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const timer = setTimeout(() => child.kill('SIGKILL'), deadlineMs);
  try {
    const status = await new Promise<number | string>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => resolve(code ?? String(signal)));
    });
    if (isTooLong) throw failed(program, input, `answers with more than ${OUTPUT_MAX_BYTES} bytes`);
    if (status === 'SIGKILL') throw failed(program, input, `does not answer within ${deadlineMs / 1000} s`);
    return { output, status };
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
      throw failed(program, input, 'is not installed, or not in $PATH', error);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's message would quote the secret.
    return undefined;
  }
}

function failed(program: string, host: string, problem: string, cause?: unknown): RegistryError {
  return new RegistryError(
    'InvalidCredentials',
    `The credential helper ${program}, which the credentials file names for ${host}, ${problem}: correct that, or put an "auths" entry in its place.`,
    cause,
  );
}
