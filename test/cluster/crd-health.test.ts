/** What the API server refuses of `spec.health`: what could never come true is best never stored. */
import assert from 'node:assert/strict';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { itRefusesImages, OS_IMAGES, osImage, tryCreate, type Json } from './crd-objects.ts';

const gates = (...list: Json[]): Json => ({ spec: { health: { gates: list } } });
const gate = (patch: Json = {}): Json => ({ conditionType: 'example.com/Checked', when: 'BeforeReboot', ...patch });

const checks = (...list: Json[]): Json => ({ spec: { health: { checks: list } } });
const OBJECT = { apiVersion: 'apps/v1', kind: 'Deployment', namespace: 'shop', name: 'web' };
const check = (patch: Json = {}): Json => ({
  name: 'web',
  when: ['BeforeNode'],
  object: OBJECT,
  expression: 'object.status.readyReplicas > 0',
  ...patch,
});

const alerts = (prometheusURL: string, patch: Json = {}): Json => ({
  spec: { health: { alerts: { prometheusURL, ...patch } } },
});
const URL_REFUSED = /prometheusURL: Invalid value: .*must be an http or https URL without credentials/s;

const REFUSED: readonly (readonly [promise: string, patch: Json, message: RegExp])[] = [
  ['a gate on Ready', gates(gate({ conditionType: 'Ready' })), /Ready is waited for in any case/],
  ['a condition that is no type', gates(gate({ conditionType: 'is it ready?' })), /must be a condition type/],
  ['a gate for no moment', gates({ conditionType: 'Checked' }), /gates\[0\]\.when: Required value/],
  ['a moment that is none', gates(gate({ when: 'Later' })), /Unsupported value: "Later"/],
  ['a gate twice', gates(gate(), gate()), /gates\[1\]: Duplicate value/],
  ['a time for what disturbs nobody', gates(gate({ when: 'BeforeSlot', timeoutSeconds: 9 })), /BeforeSlot takes no/],
  ['Skip after the reboot', gates(gate({ when: 'AfterReboot', timeoutAction: 'Skip' })), /Skip is for BeforeReboot/],
  ['Fail before the reboot', gates(gate({ timeoutAction: 'Fail' })), /Fail is for AfterReboot/],
  ['a check of a Secret', checks(check({ object: { ...OBJECT, kind: 'Secret' } })), /Secrets are not read for checks/],
  ['a check of a plural', checks(check({ object: { ...OBJECT, kind: 'deployments' } })), /must be a kind/],
  [
    'a check without a version',
    checks(check({ object: { ...OBJECT, apiVersion: 'apps' } })),
    /apiVersion: Invalid value/,
  ],
  ['a name and a selector', checks(check({ object: { ...OBJECT, selector: {} } })), /name and selector exclude/],
  ['a check for no moment', checks(check({ when: [] })), /when: Invalid value: .*at least 1 items/s],
  ['a check without an expression', checks(check({ expression: '' })), /expression: Invalid value/],
  ['a check twice', checks(check(), check()), /checks\[1\]: Duplicate value/],
  ['a time for a check that disturbs nobody', checks(check({ timeoutSeconds: 9 })), /timeoutSeconds is for AfterNode/],
  ['a Prometheus that is no URL', alerts('prometheus'), URL_REFUSED],
  ['a Prometheus behind a file', alerts('file:///etc/passwd'), URL_REFUSED],
  ['a Prometheus with credentials', alerts('http://me:secret@prometheus'), URL_REFUSED],
  ['a Prometheus with a query', alerts('http://prometheus/?a=b'), URL_REFUSED],
  [
    'alerts that are neither held nor ignored',
    alerts('http://p', { onUnreachable: 'Guess' }),
    /Unsupported value: "Guess"/,
  ],
  ['a negative time', gates(gate({ timeoutSeconds: -1 })), /greater than or equal to 0/],
];

describe('the CRD of OSImage, for health', () => {
  let controlPlane: ControlPlane;

  before(async () => {
    controlPlane = await sharedControlPlane();
  });

  itRefusesImages(REFUSED, () => controlPlane);

  it('accepts a check at several moments', async () => {
    const several = checks(check({ when: ['BeforeRollout', 'BeforeNode', 'AfterNode'], timeoutSeconds: 0 }));
    const answer = await tryCreate(controlPlane, OS_IMAGES, osImage(several));
    assert.equal(answer.code, 201, answer.message);
  });

  it('accepts a Prometheus at a port, below a path', async () => {
    const answer = await tryCreate(
      controlPlane,
      OS_IMAGES,
      osImage(alerts('https://prometheus.monitoring.svc:9090/p')),
    );
    assert.equal(answer.code, 201, answer.message);
  });

  it('accepts one condition at several moments', async () => {
    const several = gates(gate(), gate({ when: 'AfterReboot', timeoutAction: 'Fail' }), gate({ when: 'BeforeSlot' }));
    const answer = await tryCreate(controlPlane, OS_IMAGES, osImage(several));
    assert.equal(answer.code, 201, answer.message);
  });
});
