/** How the page of a difference looks, and its filter. It is whole without the script. */

export const PAGE_STYLE = `
:root {
  color-scheme: light dark;
  --text: light-dark(#1c2430, #e4e8ee);
  --quiet: light-dark(#687385, #93a0b4);
  --page: light-dark(#f5f6f8, #14181f);
  --card: light-dark(#ffffff, #1d232c);
  --line: light-dark(#e1e5ea, #303844);
  --pull: light-dark(#2459c9, #7da7ff);
  --added: light-dark(#157a4a, #58c48c);
  --removed: light-dark(#b3322c, #ff8b82);
  --updated: light-dark(#2459c9, #7da7ff);
  --shared: light-dark(#c9d0d9, #434d5b);
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 20px 64px; }
h2 { font-size: 16px; margin: 0 0 12px; }
header { display: grid; grid-template-columns: 1fr auto 1fr; gap: 16px; align-items: center; }
.endpoint { display: flex; flex-direction: column; min-width: 0; overflow-wrap: anywhere; }
.endpoint strong { font-size: 24px; line-height: 1.2; }
.label { color: var(--quiet); font-size: 12px; text-transform: uppercase; letter-spacing: .08em; }
.name, code { color: var(--quiet); }
code { font: 13px ui-monospace, monospace; }
.arrow { font-size: 28px; color: var(--quiet); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px; margin-top: 20px; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 16px; }
.figure { display: flex; flex-direction: column; }
.figure b { font-size: 30px; line-height: 1.15; font-variant-numeric: tabular-nums; }
.figure small { color: var(--quiet); }
.figure.pull b { color: var(--pull); }
.figure.added b { color: var(--added); }
.figure.removed b { color: var(--removed); }
.figure.updated b { color: var(--updated); }
.figure.downgraded small { color: var(--removed); }
.strip { display: flex; height: 34px; gap: 1px; overflow: hidden; border-radius: 6px; }
.strip i { flex: 1 1 0; min-width: 2px; }
.new { background: var(--pull); }
.shared { background: var(--shared); }
.legend { color: var(--quiet); font-size: 13px; margin: 10px 0 0; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin: 0 2px 0 12px; }
.legend i:first-child { margin-left: 0; }
input { width: 100%; padding: 8px 12px; margin-bottom: 12px; font: inherit; color: inherit; background: var(--page); border: 1px solid var(--line); border-radius: 6px; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { text-align: left; color: var(--quiet); font-weight: 500; font-size: 13px; }
th, td { padding: 6px 10px; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child { padding-left: 0; }
tbody tr:last-child td { border-bottom: 0; }
.number { text-align: right; white-space: nowrap; }
.quiet { color: var(--quiet); }
td b { font-weight: 600; }
.badge { display: inline-block; min-width: 86px; text-align: center; font-size: 12px; padding: 1px 8px; border-radius: 999px; border: 1px solid currentColor; }
.added .badge { color: var(--added); }
.removed .badge, .downgraded .badge { color: var(--removed); }
.updated .badge { color: var(--updated); }
.version { white-space: nowrap; }
.names { list-style: none; padding: 0; columns: 3 240px; }
@media (max-width: 640px) { .packages th:nth-child(3), .packages td:nth-child(3) { display: none; } }
@media print { body { background: none; } input { display: none; } section { break-inside: avoid-page; } }
`;

export const PAGE_SCRIPT = `
const input = document.querySelector('input');
if (input) {
  input.hidden = false;
  input.addEventListener('input', () => {
    const wanted = input.value.toLowerCase();
    for (const row of document.querySelectorAll('.packages tbody tr')) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}
`;
