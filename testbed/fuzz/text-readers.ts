/** How the corpora of texts are read: references, documents of registries, configuration, policies, what people write. */
import assert from 'node:assert/strict';
import { imageOfRef, imageRef } from '../../ostree/import/store-refs.ts';
import { parseConfig as parseRepositoryConfig } from '../../ostree/repository/config.ts';
import { assertRefName, escapeRefPath, unescapeRefPath } from '../../ostree/repository/ref-name.ts';
import { evaluateCheck } from '../../operator/health-checks/evaluate.ts';
import { firingAlerts } from '../../operator/health-checks/prometheus-answer.ts';
import { windowAt } from '../../operator/rollout/time/window.ts';
import { parseChallenges } from '../../registry/challenge.ts';
import { parseConfig, parseIndex, parseJsonObject, parseManifest } from '../../registry/document.ts';
import {
  canonicalJson,
  formatOstreeImageReference,
  parseAnyImageReference,
  parseDockerConfig,
  parseOstreeImageReference,
  parseRegistryName,
} from '../../registry/index.ts';
import { linksOf } from '../../registry/mirror/document-links.ts';
import { parseRegistriesConf } from '../../registry/registries-conf.ts';
import { parseContainersPolicy } from '../../registry/signatures/containers/policy-document.ts';
import { parseRegistriesD } from '../../registry/signatures/containers/registries-d.ts';
import { requirementsFor } from '../../registry/signatures/containers/scopes.ts';
import { parsePolicyFile, parseSignaturePolicy } from '../../registry/signatures/index.ts';
import { attempt, type CorpusReader, Refused } from './fuzz.ts';
import { ALERT_POLICY, CHECKED_OBJECTS } from './operator-targets.ts';
import { PACKAGE_TEXTS } from './package-targets.ts';
import { labelPaths } from './policy-targets.ts';

const REGISTRY = ['RegistryError'];
const SIGNATURE = ['SignatureError'];
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** Of a text in UTF-8, as files and requests are read. */
const text = (read: (text: string) => unknown) => (input: Buffer) => read(input.toString());

export const TEXT_READERS: Readonly<Record<string, CorpusReader>> = {
  references: {
    asserts: 'written out and read again it names the same image, also as the ref that it is stored under',
    refusals: ['RegistryError', 'OstreeError'],
    read: text((given) => {
      const { image } = parseAnyImageReference(given);
      if (image.transport === 'registry') parseRegistryName(image.name);
      const reference = attempt(REGISTRY, () => parseOstreeImageReference(given));
      if (reference === undefined) return;
      assert.deepEqual(parseOstreeImageReference(formatOstreeImageReference(reference)), reference);
      assert.deepEqual(imageOfRef(imageRef(reference.image)), reference.image);
    }),
  },
  'ref-names': {
    asserts: 'a name stays in its folder, and escaped it comes back as it was',
    refusals: ['OstreeError'],
    read: text((given) => {
      assertRefName(given);
      assert.ok(!given.split('/').some((part) => part === '' || part === '.' || part === '..'));
      assert.equal(unescapeRefPath(escapeRefPath(given)), given);
    }),
  },
  documents: {
    asserts: 'a manifest means what its JSON says, to the last member',
    refusals: REGISTRY,
    read: (input) => {
      const value = parseJsonObject(input, 'InvalidManifest', 'it');
      if ('manifests' in value) return parseIndex(value, 'img');
      if (!('layers' in value)) return parseConfig(input, 'img');
      const manifest = parseManifest(value, 'img');
      assert.deepEqual(JSON.parse(canonicalJson(manifest)), JSON.parse(JSON.stringify(manifest)));
      return manifest;
    },
  },
  'deep-documents': {
    asserts: 'no depth takes more stack than there is',
    refusals: REGISTRY,
    read: (input) => parseJsonObject(input, 'InvalidManifest', 'it'),
  },
  credentials: {
    asserts: 'a challenge never fails, whatever the header says',
    refusals: REGISTRY,
    read: text((given) => (given.startsWith('{') ? parseDockerConfig(given, true) : parseChallenges(given))),
  },
  'mirrored-documents': {
    asserts: 'all that is followed is a digest, and the bytes stay as they are',
    refusals: REGISTRY,
    read: (input) => {
      const links = linksOf({ bytes: input, mediaType: undefined, digest: `sha256:${'f'.repeat(64)}` }, 'img');
      assert.equal(links.document.bytes, input);
      for (const { digest } of [...links.documents, ...links.blobs]) assert.match(digest, DIGEST);
      assert.match(links.subject ?? `sha256:${'0'.repeat(64)}`, DIGEST);
    },
  },
  'key-files': {
    asserts: '',
    refusals: ['OstreeError'],
    read: text((given) => parseRepositoryConfig(given, '/repo')),
  },
  'registries-conf': {
    asserts: '',
    refusals: REGISTRY,
    read: text((given) => parseRegistriesConf([{ path: '/etc/registries.conf', text: given }])),
  },
  schedules: {
    asserts: 'what is open began before now and ends after it, what is next is later',
    refusals: ['Refused'],
    read: text((given) => {
      const [schedule = '', timeZone = 'UTC', at = '2026-11-23T12:00:00Z'] = given.split('\n');
      const now = new Date(at);
      if (Number.isNaN(now.getTime())) throw new Refused('no time');
      const state = windowAt({ name: 'w', schedule, timeZone, durationSeconds: 3600, actions: ['Reboot'] }, now);
      if ('field' in state) throw new Refused(state.field);
      if (state.open?.start !== undefined) assert.ok(state.open.start <= now);
      if (state.open?.end !== undefined) assert.ok(state.open.end > now);
      if (state.next !== undefined) assert.ok(state.next.start > now);
    }),
  },
  'check-expressions': {
    asserts: 'the message fits the blocker that it becomes; an expression that costs too much ends',
    refusals: ['Refused'],
    read: text((expression) => {
      const check = {
        name: 'fuzz',
        when: ['AfterNode' as const],
        object: { apiVersion: 'v1', kind: 'Pod' },
        expression,
      };
      const { verdict, message } = evaluateCheck(check, CHECKED_OBJECTS, { name: 'node-1', labels: {} });
      assert.ok(message.length < 1000);
      if (verdict === 'Unreadable') throw new Refused(message);
    }),
  },
  'prometheus-answers': {
    asserts: 'names of alerts are bounded, sorted, each once, without those to ignore',
    refusals: ['Refused'],
    read: text((given) => {
      const firing = firingAlerts({ ...ALERT_POLICY, ignore: [...ALERT_POLICY.ignore] }, given);
      if (firing === undefined) throw new Refused('no answer of a Prometheus');
      assert.deepEqual(firing, [...new Set(firing)].sort());
      for (const name of firing) assert.ok(name.length <= 253 && name !== 'Watchdog');
    }),
  },
  'trusted-roots': {
    asserts: '',
    refusals: SIGNATURE,
    read: text((trustedRoot) => {
      const keyless = { issuer: 'https://issuer.example', subject: '*@example.com', trustedRoot };
      return parseSignaturePolicy({ authorities: [{ name: 'a', keyless }] }, 'the fuzzer');
    }),
  },
  'package-texts': {
    asserts: '',
    refusals: ['PackageError'],
    read: text((given) => {
      const end = given.indexOf('\n');
      const reader = PACKAGE_TEXTS.find(({ name }) => name === given.slice(0, end));
      return reader?.parse(given.slice(end + 1));
    }),
  },
  'policy-files': {
    asserts: 'a label is a context of the policy, on one line',
    refusals: ['PolicyError'],
    read: (input) => labelPaths(input.toString('latin1')),
  },
  'policy-expressions': {
    asserts: 'the same, for one expression, in bounded time',
    refusals: ['PolicyError'],
    read: (input) => labelPaths(`/ u:r:root:s0\n${input.toString('latin1')} u:r:t:s0`),
  },
  'signature-policy-files': {
    asserts: 'what is taken asks for something',
    refusals: SIGNATURE,
    read: text((given) => {
      const { authorities, deniedDigests, deniedKeys } = parsePolicyFile(given, 'the fuzzer');
      assert.ok(authorities.length + deniedDigests.length + deniedKeys.length > 0);
    }),
  },
  'containers-policies': {
    asserts: 'some requirement stands for every image',
    refusals: SIGNATURE,
    read: (input) => {
      if (input[0] !== 0x7b) return parseRegistriesD([{ path: 'a.yaml', text: input.toString() }]);
      const policy = parseContainersPolicy(input, 'policy.json');
      assert.ok(requirementsFor(policy, { transport: 'registry', name: 'a.example/os:1' }).length > 0);
      return policy;
    },
  },
};
