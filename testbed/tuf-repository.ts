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
  readonly #server: Server;
  readonly #keys = Object.fromEntries(ROLES.map((role) => [role, newRoleKey()])) as Readonly<Record<Role, RoleKey>>;
  #version = 0;

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async start(): Promise<TufRepository> {
    const server = createServer((request, answer) => {
      const file = repository.files.get((request.url ?? '').slice(1));
      answer.writeHead(file === undefined ? 404 : 200).end(file);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const repository = new TufRepository(server);
    return repository;
  }

  /** `root.json`, from which a client starts. */
  root(): string {
    const keys = Object.fromEntries(ROLES.map((role) => [this.#keys[role].id, this.#keys[role].described]));
    const roles = Object.fromEntries(ROLES.map((role) => [role, { keyids: [this.#keys[role].id], threshold: 1 }]));
    return this.#signed('root', 1, { consistent_snapshot: true, keys, roles }).toString();
  }

  /** Puts the target into the place of the one before; returns where its bytes are. */
  publish(name: string, content: string): string {
    const version = ++this.#version;
    const bytes = Buffer.from(content);
    const sha256 = hash('sha256', bytes, 'hex');
    const targets = { [name]: { length: bytes.length, hashes: { sha256 } } };
    const path = `targets/${sha256}.${name}`;
    this.files.set(path, bytes);
    this.files.set(`${version}.targets.json`, this.#signed('targets', version, { targets }));
    this.files.set(
      `${version}.snapshot.json`,
      this.#signed('snapshot', version, { meta: { 'targets.json': { version } } }),
    );
    this.files.set('timestamp.json', this.#signed('timestamp', version, { meta: { 'snapshot.json': { version } } }));
    return path;
  }

  #signed(role: Role, version: number, more: object): Buffer {
    const expires = `${new Date(Date.now() + 24 * 3600_000).toISOString().slice(0, 19)}Z`;
    const signed = { _type: role, spec_version: '1.0.31', version, expires, ...more };
    const { id, key } = this.#keys[role];
    const sig = sign(null, Buffer.from(canonicalJson(signed)), key).toString('hex');
    return Buffer.from(JSON.stringify({ signatures: [{ keyid: id, sig }], signed }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function newRoleKey(): RoleKey {
  const pair = newKeyPair('Ed25519');
  const { x = '' } = createPublicKey(pair.publicKey).export({ format: 'jwk' });
  const keyval = { public: Buffer.from(x, 'base64url').toString('hex') };
  const described = { keytype: 'ed25519', scheme: 'ed25519', keyval };
  const id = hash('sha256', canonicalJson(described), 'hex');
  return { id, key: createPrivateKey(pair.privateKey), described };
}
