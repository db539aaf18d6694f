import { test } from "vitest";
import { spawn } from "node:child_process";
import { openSync, closeSync } from "node:fs";
import { createConnection } from "node:net";
import { openVmWorld, freePort, QEMU } from "./support/vm-world.ts";
import { findByUuid } from "../../src/qemu/process-scan.ts";
import { writeDurably } from "../../src/qemu/durable-file.ts";
const sleep=(ms:number)=>new Promise(r=>setTimeout(r,ms));
async function bare(args: string[], sock: string, log: string, cwd: string) {
  const t0=performance.now();
  const fd=openSync(log,"a"); const c=spawn(QEMU,args,{stdio:["ignore",fd,fd],detached:true,cwd}); closeSync(fd);
  const s:any = await (async()=>{for(;;){const r=await new Promise<any>(r=>{const k=createConnection(sock);k.once("connect",()=>r(k));k.once("error",()=>r(undefined))}); if(r) return r; await sleep(2);}})();
  let buf="";
  const lines:string[]=[]; let wake:any;
  s.on("data",(b:Buffer)=>{buf+=b; wake?.();});
  const until=async(f:()=>boolean)=>{while(!f()) await new Promise<void>(r=>{wake=r});};
  await until(()=>buf.includes('"QMP"'));
  s.write('{"execute":"qmp_capabilities"}\n{"execute":"query-status","id":2}\n');
  await until(()=>buf.includes('"id": 2'));
  const up=performance.now()-t0;
  const t1=performance.now();
  const ex=new Promise(r=>c.once("exit",r));
  s.on("error",()=>{});
  s.write('{"execute":"quit"}\n'); await ex;
  return [up, performance.now()-t1];
}
const med=(a:number[])=>{a=[...a].sort((x,y)=>x-y);return `${a[a.length>>1]!.toFixed(1)} [${a[0]!.toFixed(1)}..${a.at(-1)!.toFixed(1)}]`};
test("bench", async () => {
  const R:any={bu:[],bq:[],du:[],dq:[],scan:[],durable:[]};
  for (let i=0;i<24;i++) {
    await using w = await openVmWorld();
    const port = await freePort();
    const args = [...await w.args("idle"),"-netdev",`user,id=n,hostfwd=tcp:127.0.0.1:${port}-:7002`,"-device","virtio-net-pci,netdev=n,romfile="];
    const doB=async()=>{const [u,q]=await bare(args,w.paths.qmpSocket,w.paths.qemuLog,w.paths.dir); R.bu.push(u);R.bq.push(q);};
    const doD=async()=>{const t0=performance.now(); const q=await w.start(args,{expectedPort:port}); R.du.push(performance.now()-t0); 
      const t1=performance.now(); const o=await q.stop({bounds:{powerdownMs:0,quitMs:2000,termMs:2000},forced:AbortSignal.abort()}); R.dq.push(performance.now()-t1);};
    if(i%2){await doB();await doD();}else{await doD();await doB();}
    let t=performance.now(); findByUuid(w.vmId); R.scan.push(performance.now()-t);
    t=performance.now(); await writeDurably(w.paths.record,"x".repeat(1000)); R.durable.push(performance.now()-t);
  }
  for (const k of Object.keys(R)) console.log(k, med(R[k].slice(2)));
}, 120000);
