/** A GPG key pair in a home of its own, for tests that sign with gpg and with `ostree gpg-sign`. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from '../tools/setup/command.ts';

const IDENTITY = 'test@example.com';

export class GpgHome implements AsyncDisposable {
  readonly home: string;
  /** The exported public key, binary. */
  readonly keyFile: string;
  /** By which tools choose the key. */
  readonly identity = IDENTITY;

  private constructor(home: string) {
    this.home = home;
    this.keyFile = join(home, 'public.gpg');
  }

  /** Makes the folder, which must not exist, and a key in it. */
  static async make(home: string): Promise<GpgHome> {
    await mkdir(home, { mode: 0o700 });
    const gpg = new GpgHome(home);
    await gpg.run('--quick-gen-key', IDENTITY, 'rsa2048', 'sign', 'never');
    await gpg.run('--output', gpg.keyFile, '--export');
    return gpg;
  }

  async run(...args: readonly string[]): Promise<void> {
    const quiet = ['--batch', '--yes', '--pinentry-mode', 'loopback', '--passphrase', ''];
    await runCommand('gpg', ['--homedir', this.home, ...quiet, ...args]);
  }

  /** Ends the agent that gpg has started. */
  async [Symbol.asyncDispose](): Promise<void> {
    await runCommand('gpgconf', ['--homedir', this.home, '--kill', 'all']);
  }
}
