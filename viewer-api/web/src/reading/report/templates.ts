import type { DraftText } from '../../api/types';

export interface Template {
  name: string;
  text: Partial<DraftText>;
}

export interface TemplateGroup {
  name: string;
  templates: readonly Template[];
  phrases: readonly string[];
}

const NEGATIVE = { result: 'negative' } as const;
const POSITIVE = { result: 'positive' } as const;

export const CHEST: TemplateGroup = {
  name: '胸部',
  templates: [
    {
      name: '胸部正位 · 未见异常',
      text: {
        findings: '胸廓对称，气管居中。双肺纹理走行自然，双肺野清晰，未见明确实质性病变。双肺门影不大，结构清晰。纵隔无增宽，心影大小、形态在正常范围。双侧膈面光整，肋膈角锐利。所示诸肋骨骨质完整。',
        impression: '双肺、心、膈未见明显异常。', ...NEGATIVE,
      },
    },
    {
      name: '胸部正侧位 · 未见异常',
      text: {
        findings: '胸廓对称，气管居中。双肺纹理走行自然，双肺野清晰，未见明确实质性病变。双肺门影不大，结构清晰。纵隔无增宽，心影大小、形态在正常范围。双侧膈面光整，前、后肋膈角锐利。侧位示胸骨后及心后间隙清晰，所示胸椎骨质未见明显异常。',
        impression: '胸部正侧位片未见明显异常。', ...NEGATIVE,
      },
    },
    {
      name: '支气管炎',
      text: {
        findings: '双肺纹理增多、增粗、稍紊乱，以双下肺为著，未见明确片状实变影。双肺门影不大。心影大小、形态在正常范围。双膈面光整，肋膈角锐利。',
        impression: '双肺纹理增多，符合支气管炎改变，请结合临床。', ...POSITIVE,
      },
    },
    {
      name: '肺炎',
      text: {
        findings: '【侧别】肺【肺叶】见斑片状密度增高影，边缘模糊，密度不均。余肺野清晰。肺门影不大。心影大小、形态在正常范围。双侧肋膈角锐利。',
        impression: '【侧别】肺【肺叶】炎症，请结合临床，建议治疗后复查。', advice: '抗感染治疗后 2～3 周复查胸片；症状加重时建议胸部 CT 检查。', ...POSITIVE,
      },
    },
    {
      name: '胸腔积液',
      text: {
        findings: '【侧别】侧肋膈角消失，中下肺野见大片均匀致密影，上缘呈外高内低弧形，平第【前肋】前肋水平，纵隔【居中/移位】。对侧肺野清晰，肋膈角锐利。',
        impression: '【侧别】侧胸腔积液（【少/中/大】量）。', advice: '建议超声或 CT 进一步检查，明确积液性质。', ...POSITIVE,
      },
    },
    {
      name: '气胸',
      text: {
        findings: '【侧别】侧胸腔外带见无肺纹理透亮区，内见压缩肺边缘，肺组织压缩约【压缩比例】%。纵隔、气管【居中/移位】。对侧肺野清晰。',
        impression: '【侧别】侧气胸，肺组织压缩约【压缩比例】%。', advice: '请结合临床及时处理，短期复查。', ...POSITIVE,
      },
    },
    {
      name: '心影增大',
      text: {
        findings: '双肺纹理增多，双肺门影【稍大/不大】。心影向【方向】增大，心胸比约【CTR】。主动脉结【突出/未见异常】。双侧肋膈角锐利。',
        impression: '心影增大（心胸比约【CTR】），请结合心脏超声。', advice: '建议心脏超声检查。', ...POSITIVE,
      },
    },
    {
      name: '肺结核可疑',
      text: {
        findings: '【侧别】肺上野见斑片、条索状及结节状影，密度不均，边缘【清晰/模糊】。肺门影【上提/未见移位】。余肺野清晰。',
        impression: '【侧别】上肺病变，肺结核可能，活动性待定。', advice: '建议胸部 CT 及痰抗酸杆菌检查，请按规定报告并转诊定点医院。', ...POSITIVE,
      },
    },
  ],
  phrases: ['双肺纹理清晰。', '未见明确实质性病变。', '肋膈角锐利。', '主动脉结突出，可见弧形钙化。', '建议治疗后复查。', '建议胸部 CT 进一步检查。', '请结合临床及其他检查。', '与前片对比，病灶较前吸收。', '与前片对比，未见明显变化。'],
};

export const BONE: TemplateGroup = {
  name: '骨关节',
  templates: [
    {
      name: '四肢 · 未见骨折',
      text: {
        findings: '【部位】诸骨骨质结构完整，骨皮质连续，未见明确骨折征象。所示关节对应关系正常，关节间隙未见狭窄。周围软组织未见明显异常。',
        impression: '【部位】未见明确骨折及脱位征象。', advice: '如症状持续，建议 1～2 周后复查或行 CT、MRI 检查。', ...NEGATIVE,
      },
    },
    {
      name: '骨折',
      text: {
        findings: '【部位】骨皮质不连续，见【线形/斜形/粉碎】骨折线，断端【对位对线情况】。邻近关节对应关系【正常/异常】。周围软组织肿胀。',
        impression: '【部位】骨折。', advice: '请骨科处理，固定后复查。', ...POSITIVE,
      },
    },
    {
      name: '膝关节 · 退行性变',
      text: {
        findings: '【侧别】膝关节诸骨边缘骨质增生，髁间嵴变尖，关节间隙【侧】变窄，关节面下骨质硬化。髌骨上下缘见骨赘。周围软组织未见明显异常。',
        impression: '【侧别】膝关节退行性骨关节病。', advice: '请结合临床，必要时 MRI 检查。', ...POSITIVE,
      },
    },
    {
      name: '腰椎 · 退行性变',
      text: {
        findings: '腰椎序列【规则/侧弯】，生理曲度【存在/变直】。各椎体边缘见骨质增生，【椎间隙】椎间隙变窄。附件未见明确骨质破坏。',
        impression: '腰椎退行性变。', advice: '有神经症状者建议 CT 或 MRI 检查。', ...POSITIVE,
      },
    },
    {
      name: '足 · 未见骨折',
      text: {
        findings: '【侧别】足诸骨骨质结构完整，骨皮质连续，未见明确骨折线。跖趾关节、趾间关节对应关系正常，关节间隙清晰。软组织未见明显肿胀。',
        impression: '【侧别】足未见明确骨折征象。', advice: '如疼痛持续，建议 1～2 周后复查。', ...NEGATIVE,
      },
    },
  ],
  phrases: ['骨质结构完整，骨皮质连续。', '未见明确骨折及脱位征象。', '关节间隙未见狭窄。', '周围软组织肿胀。', '断端对位对线良好。', '建议 1～2 周后复查。', '建议 CT 进一步检查。', '骨痂形成，骨折线模糊。'],
};

const ECG_NORMAL = { result: 'negative', ecg_class: 'normal' } as const;
const ECG_BORDER = { result: 'negative', ecg_class: 'borderline' } as const;
const ECG_ABNORMAL = { result: 'positive', ecg_class: 'abnormal' } as const;

export const ECG: TemplateGroup = {
  name: '心电图',
  templates: [
    {
      name: '窦性心律 · 正常',
      text: {
        findings: '窦性心律，心率【心率】次/分。P 波形态、时限正常，PR 间期正常。QRS 波群时限及形态正常，电轴不偏。ST 段未见偏移，T 波形态正常，QT 间期正常。',
        impression: '窦性心律\n正常心电图', ...ECG_NORMAL,
      },
    },
    {
      name: '窦性心律不齐',
      text: {
        findings: '窦性 P 波，PP 间期不等，相差大于 0.12 s，心率【心率】次/分。PR 间期、QRS 波群正常，ST-T 未见异常。',
        impression: '窦性心律不齐\n大致正常心电图', ...ECG_BORDER,
      },
    },
    { name: '窦性心动过缓', text: { findings: '窦性心律，心率【心率】次/分。PR 间期、QRS 波群正常，ST-T 未见异常。', impression: '窦性心动过缓', advice: '请结合临床及用药情况。', ...ECG_BORDER } },
    { name: '窦性心动过速', text: { findings: '窦性心律，心率【心率】次/分。PR 间期、QRS 波群正常，ST-T 未见明显异常。', impression: '窦性心动过速', advice: '请结合临床寻找诱因。', ...ECG_BORDER } },
    {
      name: 'ST-T 改变',
      text: {
        findings: '窦性心律，心率【心率】次/分。【导联】导联 ST 段【抬高/压低】约【幅度】mV，T 波【低平/倒置/双向】。',
        impression: '窦性心律\nST-T 改变', advice: '请结合症状及心肌标志物，必要时动态复查心电图。', ...ECG_ABNORMAL,
      },
    },
    {
      name: '急性 ST 段抬高型心肌梗死',
      text: {
        findings: '窦性心律，心率【心率】次/分。【导联】导联 ST 段弓背向上抬高【幅度】mV，【对应导联】导联 ST 段压低。',
        impression: '急性【部位】心肌梗死（ST 段抬高型）可能', advice: '立即启动胸痛绿色通道，尽快转送具备急诊介入能力的医院。', ...ECG_ABNORMAL,
      },
    },
    {
      name: '心房颤动',
      text: {
        findings: 'P 波消失，代之以大小、形态不一的 f 波，RR 间期绝对不等，平均心室率【心率】次/分。QRS 波群时限正常。',
        impression: '心房颤动（平均心室率【心率】次/分）', advice: '请结合病程评估抗凝及心室率控制。', ...ECG_ABNORMAL,
      },
    },
    { name: '房性早搏', text: { findings: '窦性心律，心率【心率】次/分，可见提前出现的 P′ 波，其后 QRS 波群形态正常，代偿间歇不完全。', impression: '窦性心律\n房性早搏', ...ECG_ABNORMAL } },
    { name: '室性早搏', text: { findings: '窦性心律，心率【心率】次/分，可见提前出现的宽大畸形 QRS 波群，其前无相关 P 波，代偿间歇完全。', impression: '窦性心律\n室性早搏', advice: '必要时行动态心电图检查。', ...ECG_ABNORMAL } },
    { name: '完全性右束支阻滞', text: { findings: '窦性心律，心率【心率】次/分。QRS 时限【时限】ms，V1 呈 rsR′ 型，I、V6 导联 S 波增宽。', impression: '窦性心律\n完全性右束支阻滞', ...ECG_ABNORMAL } },
    { name: '一度房室阻滞', text: { findings: '窦性心律，心率【心率】次/分，PR 间期【PR】ms，每个 P 波后均有 QRS 波群。', impression: '窦性心律\n一度房室阻滞', ...ECG_ABNORMAL } },
    { name: '左心室高电压', text: { findings: '窦性心律，心率【心率】次/分。RV5+SV1=【电压】mV。ST-T 未见明显异常。', impression: '窦性心律\n左心室高电压', advice: '请结合血压及心脏超声。', result: 'positive', ecg_class: 'suspicious' } },
  ],
  phrases: ['窦性心律', '电轴左偏', '电轴右偏', '顺钟向转位', '逆钟向转位', '短 PR 间期', 'QT 间期延长', '异常 Q 波', '早期复极', '请结合临床。', '建议动态心电图检查。', '建议复查心电图。'],
};

/** Which groups a study is offered, the likeliest first. */
export function groupsFor(kind: string, item: string): readonly TemplateGroup[] {
  if (kind === 'ecg') return [ECG];
  return /胸|肺|心|CHEST|THORAX|RIBS?\b/i.test(item) ? [CHEST, BONE] : [BONE, CHEST];
}

const join = (old: string, add: string | undefined): string =>
  !add || old.includes(add) ? old : old.trim() ? `${old.trimEnd()}\n${add}` : add;

/** A template over the words so far: empty fields are filled, written ones are added to, choices are set. */
export function applied(before: DraftText, template: Partial<DraftText>): DraftText {
  return {
    findings: join(before.findings, template.findings),
    impression: join(before.impression, template.impression),
    advice: join(before.advice, template.advice),
    result: template.result ?? before.result,
    ecg_class: template.ecg_class ?? before.ecg_class,
  };
}

/** Placeholders that the machine's measurements can fill; the reader still reads them. */
export function filled(text: DraftText, values: Record<string, string>): DraftText {
  const put = (words: string) => words.replace(/【([^】]+)】/g, (open, name: string) => values[name] ?? open);
  return { ...text, findings: put(text.findings), impression: put(text.impression), advice: put(text.advice) };
}
