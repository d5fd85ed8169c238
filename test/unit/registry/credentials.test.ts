import assert from 'node:assert/strict';
import { parseChallenges } from '../../../registry/challenge.ts';
import { findCredential, parseDockerConfig } from '../../../registry/credentials.ts';
import { RegistryError } from '../../../registry/errors.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const basic = (username: string, password: string) => ({ kind: 'basic' as const, username, password });

describe('docker-config credentials', () => {
  it('are found by the longest prefix of host and namespaces', () => {
    const credentials = parseDockerConfig(
      JSON.stringify({
        auths: {
          'quay.io': { auth: base64('host:1') },
          'quay.io/team': { auth: base64('team:2') },
          'quay.io/team/os': { username: 'os', password: '3:4' },
          'https://index.docker.io/v1/': { auth: base64('hub:5') },
          'ghcr.io': { identitytoken: 'refresh' },
          'local:5000': {},
        },
        credsStore: 'desktop',
      }),
    );
    assert.deepEqual(findCredential(credentials, 'quay.io', 'other/os'), basic('host', '1'));
    assert.deepEqual(findCredential(credentials, 'quay.io', 'team/tools'), basic('team', '2'));
    assert.deepEqual(findCredential(credentials, 'quay.io', 'team/os'), basic('os', '3:4'));
    assert.deepEqual(findCredential(credentials, 'quay.io', 'teams/os'), basic('host', '1'));
    assert.deepEqual(findCredential(credentials, 'docker.io', 'library/debian'), basic('hub', '5'));
    assert.deepEqual(findCredential(credentials, 'ghcr.io', 'x'), { kind: 'identity-token', token: 'refresh' });
    assert.equal(findCredential(credentials, 'local:5000', 'x'), undefined);
    assert.equal(findCredential(credentials, 'quay.io.evil.example', 'x'), undefined);
    assert.equal(findCredential(undefined, 'quay.io', 'x'), undefined);
  });

  it('that are malformed are refused without quoting a secret', () => {
    const secret = 'hunter2';
    for (const text of [
      `{"auths": {"q": {"auth": "${secret}`,
      JSON.stringify({ auths: { q: { auth: base64(secret) } } }),
      JSON.stringify({ auths: { q: { auth: 7, password: secret } } }),
      JSON.stringify({ auths: [secret] }),
    ]) {
      assert.throws(
        () => parseDockerConfig(text),
        (error) =>
          error instanceof RegistryError &&
          error.code === 'InvalidCredentials' &&
          !error.message.includes(secret) &&
          !String(error.cause).includes(secret),
        text,
      );
    }
    assert.equal(parseDockerConfig('{}').size, 0);
  });
});

describe('WWW-Authenticate', () => {
  it('is understood with quotes, commas inside them, and several challenges', () => {
    const [bearer, basicChallenge] = parseChallenges(
      'Bearer realm="https://a.example/t?x=1",service="r, s",scope="repository:a/b:pull,push", Basic realm="say \\"hi\\""',
    );
    assert.equal(bearer?.scheme, 'bearer');
    assert.equal(bearer?.parameters.get('realm'), 'https://a.example/t?x=1');
    assert.equal(bearer?.parameters.get('service'), 'r, s');
    assert.equal(bearer?.parameters.get('scope'), 'repository:a/b:pull,push');
    assert.equal(basicChallenge?.scheme, 'basic');
    assert.equal(basicChallenge?.parameters.get('realm'), 'say "hi"');
    assert.deepEqual(parseChallenges(''), []);
    assert.deepEqual(parseChallenges('"'), []);
    assert.equal(parseChallenges('Negotiate')[0]?.scheme, 'negotiate');
  });

  it('of a hostile server does not take long to refuse', () => {
    const started = performance.now();
    parseChallenges(`Bearer ${'a="\\\\'.repeat(100_000)}`);
    parseChallenges(`Bearer ${'a=b,'.repeat(100_000)}`);
    assert.ok(performance.now() - started < 500);
  });
});
