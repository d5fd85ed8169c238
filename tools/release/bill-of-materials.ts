/**
 * The software bill of materials of a release. It says neither when it was made nor has it a serial number: the same
 * release has the same one.
 *
 * Source: CycloneDX 1.6, JSON; package-url, type npm.
 */
import type { ShippedPackage } from './shipped-package.ts';

/** JSON text. */
export function billOfMaterials(version: string, packages: readonly ShippedPackage[]): string {
  const root = packageUrl('treeline', version);
  const bill = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      component: {
        type: 'application',
        'bom-ref': root,
        name: 'treeline',
        version,
        licenses: [{ license: { id: 'Apache-2.0' } }],
      },
    },
    components: packages.map((shipped) => ({
      type: 'library',
      'bom-ref': packageUrl(shipped.name, shipped.version),
      name: shipped.name,
      version: shipped.version,
      purl: packageUrl(shipped.name, shipped.version),
      licenses: [licenceChoice(shipped.licence)],
      hashes: [{ alg: 'SHA-512', content: sha512Hex(shipped) }],
    })),
    dependencies: [{ ref: root, dependsOn: packages.map(({ name, version: at }) => packageUrl(name, at)) }],
  };
  return `${JSON.stringify(bill, undefined, 2)}\n`;
}

function packageUrl(name: string, version: string): string {
  return `pkg:npm/${name.replace(/^@/, '%40')}@${version}`;
}

/** An expression of several licences has a field of its own. */
function licenceChoice(licence: string): object {
  return /^[\w.-]+$/.test(licence) ? { license: { id: licence } } : { expression: licence.replace(/^\((.*)\)$/, '$1') };
}

function sha512Hex({ name, integrity }: ShippedPackage): string {
  const [algorithm, digest] = integrity.split('-');
  if (algorithm !== 'sha512' || digest === undefined) throw new Error(`${name} is not pinned by SHA-512: ${integrity}`);
  return Buffer.from(digest, 'base64').toString('hex');
}
