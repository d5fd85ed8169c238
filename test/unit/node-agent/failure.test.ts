import assert from 'node:assert/strict';
import { OstreeError } from '../../../ostree/index.ts';
import { RegistryError } from '../../../registry/index.ts';
import { failureOf } from '../../../node-agent/failure.ts';
import { AgentError } from '../../../node-agent/errors.ts';

describe('the reason of a failure', () => {
  const cases: readonly (readonly [string, Error])[] = [
    ['DiskFull', new OstreeError('NoSpace', 'full.')],
    ['RepositoryReadOnly', new OstreeError('ReadOnly', 'ro.')],
    ['CorruptObject', new OstreeError('CorruptObject', 'bad.')],
    ['RegistryUnauthorized', new RegistryError('Unauthorized', 'who?')],
    ['RegistryUnreachable', new RegistryError('Unreachable', 'gone.')],
    ['ImageNotFound', new RegistryError('NotFound', 'none.')],
    ['WrongArchitecture', new RegistryError('NoPlatform', 'other.')],
    ['PullSecretInvalid', new AgentError('PullSecretInvalid', 'no.')],
    ['DiskFull', Object.assign(new Error('write'), { code: 'ENOSPC' })],
    ['InternalError', Object.assign(new Error('boom'), { code: 'ERR_INVALID_ARG_TYPE' })],
    ['InternalError', new TypeError('boom')],
  ];
  for (const [reason, error] of cases) {
    it(`is ${reason} for ${error.name} ${'code' in error ? String(error.code) : 'without a code'}`, () => {
      const failure = failureOf(error);
      assert.equal(failure.reason, reason);
      assert.match(failure.reason, /^[A-Z][A-Za-z0-9]*$/, 'as the API conventions want reasons');
      assert.equal(failure.message, error.message);
    });
  }

  it('is never longer than the API takes', () => {
    assert.equal(failureOf(new Error('x'.repeat(10_000))).message.length, 4096);
    assert.equal(failureOf('a string').message, 'a string');
  });
});
