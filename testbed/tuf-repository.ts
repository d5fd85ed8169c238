/** A TUF repository with one target, made and served in code: each role has a key of its own, as its specification has it. */
import { createPrivateKey, createPublicKey, hash, type KeyObject, sign } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { canonicalJson } from '../registry/canonical-json.ts';
import { newKeyPair } from './signing-keys.ts';

const ROLES = ['root', 'timestamp', 'snapshot', 'targets'] as const;
type Role = (typeof ROLES)[number];

interface RoleKey {
  readonly id: string;
  readonly key: KeyObject;
  readonly described: object;
}

export class TufRepository implements AsyncDisposable {
  readonly url: string;
  /** By path, without the first slash; a test may change what it likes. */
  readonly files = new Map<string, Buffer>();
  /** Paths in the order in which they were asked for. */
  readonly asked: string[] = [];
  readonly #server: Server;
  readonly #keys: Record<Role, readonly RoleKey[]>;
  readonly #firstRoot: string;
  #rootVersion = 1;
  #version = 0;

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    this.#keys = { root: [newRoleKey()], timestamp: [newRoleKey()], snapshot: [newRoleKey()], targets: [newRoleKey()] };
    this.#firstRoot = this.#root(1, this.#keys.root).toString();
  }

  static async start(): Promise<TufRepository> {
    const server = createServer((request, answer) => {
      const path = (request.url ?? '').slice(1);
      repository.asked.push(path);
      const file = repository.files.get(path);
      answer.writeHead(file === undefined ? 404 : 200).end(file);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const repository = new TufRepository(server);
    return repository;
  }

  /** The first `root.json`, from which a client starts. */
  root(): string {
    return this.#firstRoot;
  }

  /**
   * A next version of `root.json` gives a role new keys, all of which must sign from then on. What is published already is signed
   * by the old ones.
   * @param signers `old` and `new` keys of the root, as the specification asks for, or those of a thief, who has none of the old.
   */
  rotate(role: Role, count = 1, signers: 'old and new' | 'new' = 'old and new'): void {
    const before = this.#keys.root;
    this.#keys[role] = Array.from({ length: count }, newRoleKey);
    const version = ++this.#rootVersion;
    const old = signers === 'new' ? [] : before;
    this.files.set(`${version}.root.json`, this.#root(version, [...new Set([...old, ...this.#keys.root])]));
  }

  /** Puts the target into the place of the one before; returns where its bytes are. */
  publish(name: string, content: string, timestampExpires = tomorrow()): string {
    const version = ++this.#version;
    const bytes = Buffer.from(content);
    const sha256 = hash('sha256', bytes, 'hex');
    const targets = { [name]: { length: bytes.length, hashes: { sha256 } } };
    const path = `targets/${sha256}.${name}`;
    this.files.set(path, bytes);
    this.files.set(`${version}.targets.json`, this.#signed('targets', version, { targets }));
    const meta = { 'targets.json': { version } };
    this.files.set(`${version}.snapshot.json`, this.#signed('snapshot', version, { meta }));
    const timestamp = { meta: { 'snapshot.json': { version } } };
    this.files.set('timestamp.json', this.#signed('timestamp', version, timestamp, timestampExpires));
    return path;
  }

  #root(version: number, signers: readonly RoleKey[]): Buffer {
    const keys = Object.fromEntries(ROLES.flatMap((role) => this.#keys[role].map((key) => [key.id, key.described])));
    const roles = Object.fromEntries(
      ROLES.map((role) => [role, { keyids: this.#keys[role].map(({ id }) => id), threshold: this.#keys[role].length }]),
    );
    const more = { consistent_snapshot: true, keys, roles };
    return this.#signed('root', version, more, tomorrow(), signers);
  }

  #signed(
    role: Role,
    version: number,
    more: object,
    expires = tomorrow(),
    signers: readonly RoleKey[] = this.#keys[role],
  ): Buffer {
    const time = `${expires.toISOString().slice(0, 19)}Z`;
    const signed = { _type: role, spec_version: '1.0.31', version, expires: time, ...more };
    const bytes = Buffer.from(canonicalJson(signed));
    const signatures = signers.map(({ id, key }) => ({ keyid: id, sig: sign(null, bytes, key).toString('hex') }));
    return Buffer.from(JSON.stringify({ signatures, signed }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function tomorrow(): Date {
  return new Date(Date.now() + 24 * 3600_000);
}

function newRoleKey(): RoleKey {
  const pair = newKeyPair('Ed25519');
  const { x = '' } = createPublicKey(pair.publicKey).export({ format: 'jwk' });
  const keyval = { public: Buffer.from(x, 'base64url').toString('hex') };
  const described = { keytype: 'ed25519', scheme: 'ed25519', keyval };
  const id = hash('sha256', canonicalJson(described), 'hex');
  return { id, key: createPrivateKey(pair.privateKey), described };
}
