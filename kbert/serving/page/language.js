// What the page says, in English and Chinese.

const TEXTS = {
  en: {
    model: "Model",
    task: "Task",
    ask: "Ask",
    explain: "Explain",
    answer: "Answer",
    words: "Words that pushed it",
    towards: "towards",
    against: "against",
    how: "(integrated gradients; the stronger the colour the more)",
    higher: "a higher score",
    spans: "what was found",
    found: "Found in the text",
    versions: "Versions",
    requests: "Requests",
    footer: "A development server. In production the same folder goes to TF "
      + "Serving.",
    token: "This server wants a token: open the page with #token=... after "
      + "its address.",
    threshold: "threshold",
    labels: "Labels",
    head: "Head",
    thresholdName: "Threshold",
    backbone: "Backbone",
    layers: (layers, width) => `BERT, ${layers} layers of width ${width}`,
    reads: "Reads",
    tokens: (count) => `the first ${count} tokens`,
    windows: (count) => `all, in windows of ${count} tokens`,
    trained: "Trained",
    rows: (date, rows) => `${date}, ${rows} rows`,
    validation: "Validation",
    accuracy: "accuracy",
    macroF1: "macro-F1",
    on: (figures, rows) => `${figures} on ${rows} rows`,
    kbert: "kbert",
    versionLabels: "Version labels",
    loaded: "loaded",
    answered: "Answered",
    failed: "Failed",
    mean: "Mean",
    perSecond: "Now",
    rate: (rate) => `${rate} a second`,
  },
  zh: {
    model: "模型",
    task: "任务",
    ask: "预测",
    explain: "解释",
    answer: "结果",
    words: "影响结果的词",
    towards: "支持",
    against: "反对",
    how: "（积分梯度；颜色越深，影响越大）",
    higher: "更高的分数",
    spans: "找到的内容",
    found: "在文本中找到",
    versions: "版本",
    requests: "请求",
    footer: "这是开发服务器。生产环境中，同一个文件夹交给 TF Serving。",
    token: "此服务器需要令牌：请在网址后加上 #token=... 再打开本页。",
    threshold: "阈值",
    labels: "标签",
    head: "任务头",
    thresholdName: "阈值",
    backbone: "主干",
    layers: (layers, width) => `BERT，${layers} 层，宽 ${width}`,
    reads: "读取",
    tokens: (count) => `前 ${count} 个词元`,
    windows: (count) => `全文，每窗 ${count} 个词元`,
    trained: "训练",
    rows: (date, rows) => `${date}，${rows} 行`,
    validation: "验证",
    accuracy: "准确率",
    macroF1: "宏平均 F1",
    on: (figures, rows) => `${figures}（${rows} 行）`,
    kbert: "kbert",
    versionLabels: "版本标签",
    loaded: "加载于",
    answered: "成功",
    failed: "失败",
    mean: "平均",
    perSecond: "当前",
    rate: (rate) => `每秒 ${rate} 次`,
  },
};

const KEY = "language";

function preferred() {
  const wanted = new URLSearchParams(location.hash.slice(1)).get("lang")
    ?? localStorage.getItem(KEY) ?? navigator.language;
  return wanted.toLowerCase().startsWith("zh") ? "zh" : "en";
}

let language = preferred();

export const say = (name) => TEXTS[language][name];

export const locale = () => (language === "zh" ? "zh-CN" : "en");

// Everything that stands in index.html.
function show() {
  document.documentElement.lang = locale();
  for (const part of document.querySelectorAll("[data-say]")) {
    part.textContent = say(part.dataset.say);
  }
}

// Have `picker` choose the language; `changed` says the rest anew.
export function begin(picker, changed) {
  picker.value = language;
  picker.addEventListener("change", () => {
    language = picker.value;
    localStorage.setItem(KEY, language);
    show();
    changed();
  });
  show();
}
