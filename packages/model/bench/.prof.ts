import { fileURLToPath } from 'node:url';
import { openRuntime } from '../src/index.js';
const dir = fileURLToPath(new URL('../../../node_modules/.cache/moestack-bench/synthetic-moe', import.meta.url));
const rt = await openRuntime(dir, { blocks: 256, maxBatchTokens: 256, maxSequences: 16, maxContextTokens: 256 });
const cpu = () => { const u = process.cpuUsage(); return (u.user + u.system) / 1e6; };
function batch(n: number, prefill: boolean) {
  return prefill ? { sequences: 1, tokens: Int32Array.from({ length: n }, (_, i) => (i * 7919 + 13) % 1024), tokenOffsets: Int32Array.of(0, n), contextStarts: Int32Array.of(0), blockTables: Int32Array.from({ length: 16 }, (_, i) => i), blockTableStride: 16 }
  : { sequences: n, tokens: Int32Array.from({ length: n }, (_, i) => (i * 7919 + 13) % 1024), tokenOffsets: Int32Array.from({ length: n + 1 }, (_, i) => i), contextStarts: new Int32Array(n).fill(128), blockTables: Int32Array.from({ length: n * 16 }, (_, i) => i), blockTableStride: 16 };
}
for (const [name, b, T] of [['decode1', batch(1, false), 1], ['decode8', batch(8, false), 8], ['decode16', batch(16, false), 16], ['prefill', batch(256, true), 256]] as const) {
  rt.forward(b); 
  const reps = name === 'prefill' ? 2 : name === 'decode1' ? 20 : 4;
  const t0 = cpu(); for (let i = 0; i < reps; i++) rt.forward(b); const dt = (cpu() - t0) / reps;
  console.log(name, 'cpu ms', (dt * 1e3).toFixed(1), 'tokens/s', (T / dt).toFixed(1));
  if (process.argv[2]) continue;
  const groups = new Map<string, { n: number; macs: number; run: (() => void)[] }>();
  const k: any = rt.kernels;
  for (const m of ['linear', 'linearTransposed', 'rmsNorm', 'rope', 'siluMul', 'add', 'addScaled', 'latentAttention', 'causalAttention']) {
    const orig = k[m].bind(k);
    k[m] = (...a: any[]) => {
      const kept = a.map((x) => (x && Object.getPrototypeOf(x) === Object.prototype ? { ...x } : x));
      let key = m, macs = 0;
      if (m.startsWith('linear')) { const rc = a[4]?.rowCount ?? a[0].rows; key = `${m} ${a[0].format} ${a[0].layout} ${rc}x${a[0].cols} m=${a[3] > 16 ? '*' : a[3]}`; macs = rc * a[0].cols * a[3]; }
      const g = groups.get(key) ?? { n: 0, macs: 0, run: [] }; g.n++; g.macs += macs; g.run.push(() => orig(...kept)); groups.set(key, g);
      orig(...a);
    };
  }
  rt.forward(b);
  for (const m of ['linear', 'linearTransposed', 'rmsNorm', 'rope', 'siluMul', 'add', 'addScaled', 'latentAttention', 'causalAttention']) delete k[m];
  for (const [key, g] of [...groups].sort()) {
    const r = name === 'prefill' ? 2 : 10; for (const f of g.run) f();
    const t = cpu(); for (let i = 0; i < r; i++) for (const f of g.run) f(); const d = (cpu() - t) / r;
    console.log('   ', key.padEnd(52), String(g.n).padStart(6), (d * 1e3).toFixed(2).padStart(8), 'ms', g.macs ? (2 * g.macs / d / 1e9).toFixed(1) + ' GF/s' : '');
  }
}
