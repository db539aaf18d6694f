import { test } from "vitest";
import { openVmWorld, freePort } from "./support/vm-world.ts";
const med=(a:number[])=>{a=[...a].sort((x,y)=>x-y);return `${a[a.length>>1]!.toFixed(1)} [${a[0]!.toFixed(1)}..${a.at(-1)!.toFixed(1)}]`};
test("b2", async () => {
  const R:any={drain:[],stop:[],stopNoRings:[]};
  for (let i=0;i<30;i++) {
    await using w = await openVmWorld();
    const q=await w.start(await w.args("idle"), i%2?{}:{rings:{console:false,result:false}});
    if(i%2){const t=performance.now(); await q.drainOutputs(); R.drain.push(performance.now()-t);}
    const t1=performance.now(); await q.stop({bounds:{powerdownMs:0,quitMs:2000,termMs:2000},forced:AbortSignal.abort()}); (i%2?R.stop:R.stopNoRings).push(performance.now()-t1);
  }
  for (const k of Object.keys(R)) console.log(k, med(R[k].slice(2)));
}, 120000);
