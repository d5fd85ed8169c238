import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { VariantDictionary } from '../../../ostree/gvariant/value.ts';
import { requireSignedCommit } from '../../../ostree/remotes/commit-signature.ts';
import { readRemoteKeys } from '../../../ostree/remotes/remote-keys.ts';
import { newKeyPair } from '../../../testbed/signing-keys.ts';

describe('an ostree remote with Ed25519 keys', () => {
  const pair = newKeyPair('Ed25519');
  const stranger = newKeyPair('Ed25519');
  const commit = Buffer.from('a commit');
  const raw = (pem: string) =>
    Buffer.from(createPublicKey(pem).export({ format: 'jwk' }).x ?? '', 'base64url').toString('base64');
  const detached = (...pems: readonly string[]): VariantDictionary => [
    ['ostree.sign.ed25519', { type: 'aay', value: pems.map((pem) => sign(null, commit, createPrivateKey(pem))) }],
  ];
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'treeline-remote-'));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  const put = async (path: string, text: string) => {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  };
  const keys = async (remote: string) => {
    await put('etc/ostree/remotes.d/vendor.conf', `[remote "vendor"]\nurl=https://ostree.invalid\n${remote}`);
    return readRemoteKeys('vendor', join(root, 'repo'), root);
  };
  const judge = async (remote: string, metadata: VariantDictionary, bytes = commit) =>
    requireSignedCommit(await keys(remote), 'c0ffee', bytes, metadata, new Date());
  const ED25519 = 'gpg-verify=false\nsign-verify=ed25519\n';

  it('vouches for commits that one of its keys has signed, and for no others', async () => {
    const remote = `${ED25519}verification-ed25519-key=${raw(pair.publicKey)}\n`;
    await judge(remote, detached(stranger.privateKey, pair.privateKey));
    await assert.rejects(judge(remote, detached(stranger.privateKey)), /not made by a key of the remote/);
    await assert.rejects(
      judge(remote, detached(pair.privateKey), Buffer.from('b commit')),
      /not made by a key of the remote/,
    );
    await assert.rejects(judge(remote, []), /has no Ed25519 signature/);
    await assert.rejects(
      judge(remote, [['ostree.sign.ed25519', { type: 's', value: 'x' }]]),
      /has no Ed25519 signature/,
    );
  });

  it('may have its keys in a file, and must have some', async () => {
    await put('etc/keys', `${raw(stranger.publicKey)}\n\n${raw(pair.publicKey)}\n`);
    await judge(`${ED25519}verification-ed25519-file=/etc/keys\n`, detached(pair.privateKey));
    await assert.rejects(keys(ED25519), /asks for an Ed25519 signature and has no key/);
    await assert.rejects(keys(`${ED25519}verification-ed25519-file=/etc/none\n`), /names the key file \/etc\/none/);
    await assert.rejects(keys(`${ED25519}verification-ed25519-key=AAAA\n`), /not 32 bytes/);
  });

  it('must ask for a signature that can be judged', async () => {
    await assert.rejects(keys('gpg-verify=false\n'), /asks for no signature/);
    await assert.rejects(keys('gpg-verify=false\nsign-verify=spki\n'), /kind spki, which Treeline cannot judge/);
    await assert.rejects(keys(''), /asks for a GPG signature and has no key/);
    await assert.rejects(readRemoteKeys('other', join(root, 'repo'), root), /other is not configured here/);
    await put('usr/share/ostree/trusted.gpg.d/a.gpg', 'no key');
    await assert.rejects(keys(''), /a\.gpg holds no GPG key/);
  });
});
