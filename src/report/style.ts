/** @file The page's style sheet. */
import { cardStyle } from "../analysis/dashboards/card.ts";
import { paletteVariables } from "./palette.ts";

const sheet = `
:root{color-scheme:light dark;${paletteVariables};--side:13.5rem}
:root[data-theme=light]{color-scheme:light}
:root[data-theme=dark]{color-scheme:dark}
*{box-sizing:border-box}
html{scroll-padding-top:1rem}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"DejaVu Sans",sans-serif;-webkit-text-size-adjust:100%}
a{color:var(--link);text-decoration-thickness:1px;text-underline-offset:2px}
a:hover{text-decoration-thickness:2px}
:focus-visible{outline:2px solid var(--link);outline-offset:2px;border-radius:3px}
h2:focus{outline:none}
.skip{position:absolute;left:-100rem}
.skip:focus{left:1rem;top:1rem;background:var(--raised);padding:.5rem 1rem;z-index:9}
button,input{font:inherit;color:inherit}
.frame{max-width:1480px;margin:0 auto;padding:0 1.5rem 4rem;display:grid;grid-template-columns:var(--side) minmax(0,1fr);gap:0 2.5rem}
.top{grid-column:1/-1;display:flex;flex-wrap:wrap;align-items:flex-start;justify-content:space-between;gap:.5rem 2rem;padding:1.6rem 0 1.1rem;border-bottom:1px solid var(--line);margin-bottom:1.4rem}
.top h1{overflow-wrap:anywhere;font-size:1.55rem;line-height:1.25;margin:0;letter-spacing:-.01em}
.facts{display:flex;flex-wrap:wrap;gap:.15rem 1.6rem;margin:.45rem 0 0;padding:0;font-size:.9rem}
.facts div{display:flex;gap:.4rem}
.facts dt{color:var(--soft)}
.facts dd{margin:0;overflow-wrap:anywhere}
.top>div{min-width:0}
.theme{border:1px solid var(--line);background:var(--raised);border-radius:6px;padding:.3rem .75rem;cursor:pointer;font-size:.88rem}
.theme:hover,.more:hover,.seg button:hover{border-color:var(--it-muted)}
.toc{position:sticky;top:1rem;align-self:start;font-size:.92rem}
.toc ul{list-style:none;margin:0;padding:0}
.toc a{display:block;padding:.28rem .7rem;border-left:2px solid var(--line);color:var(--soft);text-decoration:none}
.toc a:hover{color:var(--ink)}
.toc a[aria-current]{color:var(--ink);border-left-color:var(--link);font-weight:600}
main>section{margin:0 0 3.2rem;scroll-margin-top:1rem}
h2{font-size:1.2rem;margin:0 0 .3rem;letter-spacing:-.005em}
main h3{font-size:1rem;margin:1.6rem 0 .4rem}
.lead{color:var(--soft);margin:.1rem 0 1rem;max-width:75ch}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(11.5rem,1fr));gap:.8rem;margin:0;padding:0}
.tile{background:var(--panel);border-radius:8px;padding:.75rem 1rem .8rem}
.tile dt{color:var(--soft);font-size:.85rem}
.tile dd{margin:0}
.tile .big{font-size:1.28rem;line-height:1.5;font-variant-numeric:tabular-nums;letter-spacing:-.01em}
.tile .note{font-size:.85rem;color:var(--soft)}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,27rem),1fr));gap:1.2rem 2.2rem;align-items:start}
.scroll{overflow-x:auto;margin:.2rem 0}
.two>div>div+div{margin-top:1.6rem}
table.grid{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
table.grid :is(th,td){padding:.34rem .6rem;border-bottom:1px solid var(--line);vertical-align:top;text-align:left}
table.grid thead th{border-bottom:1.5px solid var(--it-muted);vertical-align:bottom;padding:.1rem}
table.grid thead button{background:none;border:0;padding:.14rem .5rem;margin:0;font-weight:600;line-height:1.35;cursor:pointer;border-radius:4px;text-align:inherit;white-space:pre-line}
table.grid thead button:hover{background:var(--panel)}
table.grid [aria-sort] button::before{color:var(--link);padding-right:.25em}
table.grid [aria-sort=ascending] button::before{content:"↑"}
table.grid [aria-sort=descending] button::before{content:"↓"}
table.grid .num{text-align:right;white-space:nowrap}
table.grid thead .num{text-align:right}
table.grid tbody th{font-weight:400}
table.grid tbody tr:hover{background:var(--panel)}
table.grid .clip{min-width:16rem;max-width:46rem;overflow-wrap:anywhere}
.clip span{display:-webkit-box;-webkit-line-clamp:2;-webkit-box-orient:vertical;overflow:hidden}
.tools{display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:center;margin:.4rem 0 .5rem}
.tools b{font-size:.95rem;margin-right:.4rem}
.tools input{border:1px solid var(--line);background:var(--raised);border-radius:6px;padding:.32rem .65rem;min-width:min(100%,17rem)}
.tools input::placeholder{color:var(--soft);opacity:1}
.count{color:var(--soft);font-size:.87rem;margin-left:auto}
.more{border:1px solid var(--line);background:var(--raised);border-radius:6px;padding:.3rem .9rem;cursor:pointer;margin:.5rem .5rem 0 0;font-size:.88rem}
.seg{display:flex;flex-wrap:wrap;gap:.35rem;margin-bottom:.7rem}
.seg button{border:1px solid var(--line);background:var(--raised);border-radius:99px;padding:.18rem .75rem;cursor:pointer;font-size:.87rem}
.seg button[aria-pressed=true]{background:var(--ink);color:var(--paper);border-color:var(--ink)}
.up{color:var(--it-positive)}.down{color:var(--it-negative)}
.tag{display:inline-block;border-radius:99px;padding:0 .6em;font-size:.85em;border:1px solid currentColor;white-space:nowrap}
.tag.kept{color:var(--soft)}.tag.broken{color:var(--it-negative)}.tag.repaired{color:var(--it-positive)}.tag.wrong{color:var(--soft);border-style:dashed}
.where{color:var(--soft);white-space:nowrap}
.range{display:block;width:11rem;height:1.1rem;overflow:visible}
.range line{stroke:var(--it-muted);stroke-width:1}
.range .zero{stroke:var(--line)}
.range .whisker{stroke-width:2}
.range .up{stroke:var(--it-positive);stroke-width:3}
.range .down{stroke:var(--it-negative);stroke-width:3}
.figure{margin:.6rem 0 1rem;position:relative}
.figure figcaption{font-weight:600;font-size:.95rem}
.figure .about{color:var(--soft);font-size:.87rem;margin:0}
.plot{position:relative;margin-top:.35rem;border-radius:4px}
.plot svg{display:block;width:100%;height:auto;overflow:visible;touch-action:pan-y}
.plot text{fill:var(--soft);font-size:11.5px}
.plot .axis{stroke:var(--it-muted);stroke-width:1}
.plot .gridline{stroke:var(--line);stroke-width:1}
.plot .diagonal{stroke:var(--it-muted);stroke-dasharray:4 4}
.plot .up{stroke:var(--it-positive)}
.plot .down{stroke:var(--it-negative)}
.plot .plain{stroke:var(--it-muted)}
.plot .hollow{stroke:var(--it-muted)}
.plot .inside{stroke:var(--paper)}
.plot path{fill:none}
.plot .dots{stroke-linecap:round}
.plot :is(.up,.down,.plain).dots{stroke-opacity:.85}
.plot .stem{stroke-width:1;stroke-opacity:.55}
.plot .ring{fill:none;stroke:var(--ink);stroke-width:1.5;pointer-events:none}
.plot.live{cursor:pointer}
.tip{position:absolute;pointer-events:none;background:var(--ink);color:var(--paper);border-radius:5px;padding:.25rem .6rem;font-size:.84rem;line-height:1.4;max-width:20rem;width:max-content;z-index:3;white-space:pre-line}
.legend{display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;font-size:.86rem;color:var(--soft);margin:.2rem 0 0;padding:0;list-style:none}
.legend i{display:inline-block;width:.7em;height:.7em;border-radius:50%;margin-right:.45em;background:currentColor}
.legend .plain{color:var(--it-muted)}
.legend .hollow{background:none;border:1.5px solid var(--it-muted)}
.legend .up{color:var(--it-positive)}
.legend .down{color:var(--it-negative)}
.latent{border:1px solid var(--line);border-radius:8px;margin:0 0 .55rem;background:var(--raised)}
.latent>summary{cursor:pointer;padding:.5rem .9rem;display:grid;grid-template-columns:6.5rem minmax(7rem,11rem) 5rem minmax(0,1fr);gap:.2rem 1rem;align-items:baseline;list-style:none}
.latent>summary::-webkit-details-marker{display:none}
.latent>summary>b::before{content:"▸";display:inline-block;width:1.1em;color:var(--it-muted)}
.latent[open]>summary>b::before{content:"▾"}
.latent>summary b{font-variant-numeric:tabular-nums}
.latent>summary .gist{color:var(--soft);overflow:hidden;text-overflow:ellipsis;white-space:nowrap;font-size:.9rem}
.latent[open]>summary{border-bottom:1px solid var(--line)}
.latent .it-card{padding:1rem 1.1rem 1.2rem}
.it-card{font:inherit}
.it-card h5,.it-card small,.it-none,.it-effects caption,.it-histogram text{opacity:1;color:var(--soft)}
.it-histogram text{fill:var(--soft)}
dialog{border:0;padding:0;margin:0 0 0 auto;width:min(58rem,100vw);max-width:none;height:100dvh;max-height:none;background:var(--raised);color:var(--ink);box-shadow:0 0 40px rgb(0 0 0/.35)}
dialog::backdrop{background:rgb(10 14 20/.45)}
.bar{position:sticky;top:0;background:var(--raised);border-bottom:1px solid var(--line);display:flex;gap:.4rem;align-items:center;padding:.55rem 1.2rem;z-index:2}
.bar .name{margin-right:auto;color:var(--soft);font-size:.9rem}
.bar button{border:1px solid var(--line);background:var(--raised);border-radius:6px;padding:.22rem .7rem;cursor:pointer}
.bar button:hover{border-color:var(--it-muted)}
.sheet{padding:1.1rem 1.4rem 2.5rem}
.sheet h2{margin:0 0 .4rem}
.sheet h3{font-size:1rem;margin:1.4rem 0 .35rem}
.prompt{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--panel);border-radius:8px;padding:.75rem 1rem;margin:.5rem 0}
.prompt .tok{border-radius:2px}
.prompt .tok:nth-child(even){background:color-mix(in srgb,var(--it-muted) 13%,transparent)}
.pairs{display:grid;grid-template-columns:minmax(11.5rem,max-content) minmax(0,1fr);gap:.12rem 1.4rem;margin:.3rem 0 1rem;font-size:.9rem}
.pairs dt{color:var(--soft)}
.pairs dd{margin:0;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
.pairs summary{cursor:pointer;width:fit-content}
.pairs pre{margin:.3rem 0 .6rem;padding:.6rem .8rem;background:var(--panel);border-radius:8px;overflow:auto;max-height:28rem;font-size:.85rem;overflow-wrap:normal}
.hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
footer{grid-column:1/-1;border-top:1px solid var(--line);color:var(--soft);font-size:.87rem;padding-top:.8rem}
@media(max-width:1000px){
.frame{grid-template-columns:minmax(0,1fr);padding:0 1rem 3rem}
.toc{position:static;margin:0 0 1.4rem;overflow-x:auto}
.toc ul{display:flex;flex-wrap:wrap}
.toc a{border-left:0;border-bottom:2px solid var(--line);padding:.25rem .6rem}
.latent>summary{grid-template-columns:auto auto 1fr}
.latent>summary .gist{grid-column:1/-1}
.sheet{padding:1rem}
.bar{padding:.5rem 1rem}
}
@media print{
:root{color-scheme:light!important}
.toc,.theme,.tools,.more,.skip,.plot .ring,.tip,dialog{display:none}
.frame{display:block;max-width:none;padding:0}
body{font-size:10pt}
main>section,.figure,tr,.latent{break-inside:avoid}
h2,h3{break-after:avoid}
}
@media(prefers-reduced-motion:no-preference){html{scroll-behavior:smooth}}
`;

/** Everything the page wears. */
export const pageStyle: string = `${sheet.replace(/\n/g, "")}${cardStyle.replace(/\n/g, "")}`;
