# SPDX-License-Identifier: MIT
"""
Writes what tests/unit/spm_test.c compares our tokenizer with.  Ids come from the package
`sentencepiece` of PyPI (version 0.2.3, Apache-2.0), which shares nothing with our code:

	python3 -m venv venv && venv/bin/pip install gguf==0.19.0 sentencepiece==0.2.3 numpy protobuf
	venv/bin/python tests/unit/data/spm_cases.py [GEMMA.gguf]

spm_vocab.gguf and spm_cases.json: a vocabulary that sentencepiece learned from CORPUS below, as
GGUF, and texts with their ids.  With GEMMA.gguf (tools/fetch-models.sh gemma) also
spm_gemma_cases.json: ids of the same texts by the vocabulary of that file, from which a model of
sentencepiece is made again.  The vocabulary itself is not written anywhere.
"""
import json
import os
import random
import sys

import gguf
import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as pb

HERE = os.path.dirname(os.path.abspath(__file__))
USER = ["\n", "\n\n", "\n\n\n", "▁▁", "▁▁▁", "▁▁▁▁", "\t", "<table>", "</table>"]
CORPUS = """
Every tide that comes in goes out again, and whoever lives at the shore keeps two clocks.
The harbour master wrote the times of high water on a board beside the door of the office.
Boats that draw less than a metre may leave an hour before; the others wait for the bell.
In winter the ferry runs twice a day, in summer every forty minutes between six and ten.
A tokenizer splits words into pieces; pieces that are seen often become one piece of their own.
Numbers such as 1987, 2048 and 3.14159 are split into what has been seen before.
for (i = 0; i < count; i++) { total += values[i]; } return total / count;
Der Hafen liegt im Norden der Stadt, die Straße dorthin führt über eine alte Brücke.
Le café ouvre à sept heures; l'été, les élèves y déjeunent déjà à midi.
Москва и Петербург, река и море, снег и лёд.
東京の海は静かです。水は青い。
The end of the tide is the beginning of the tide, the bell says it again and again.
""" * 4

TEXTS = [
    "", " ", "  ", "a", " a", "a ", "  a  b   c    d     e", "The capital of France is",
    "Every tide that comes in goes out again.", "the the the thethethe", "\n", "\n\n", "\n\n\n\n\n",
    "\n" * 40, "line one\nline two\n\nline three\n", " \n \n ", "\t", "\ttab\t\ttabs\t \tmixed",
    "for (int i = 0; i < 10; i++) {\n\tprintf(\"%d\\n\", i);\n}\n", "x" * 50, "ab" * 40,
    "3.14159 and 1,000,000 or 0x7fff", "Straße über Brücke führt", "l'été déjà à midi café",
    "e\u0301 is not \u00e9", "Москва и Петербург", "東京の海は静かです。", "한국어도 있다",
    "مرحبا بالعالم", "नमस्ते", "🙂", "👩‍👩‍👧‍👦 family, 🇩🇪 flag, 👍🏽", "\u0000"[1:] + "\u0001\u0002\u001b[31m",
    "<eos>", "<bos>text<eos>", "<0x0A>", "<table><tr></table>", "a<table>b", "<unk>", "▁", "▁▁▁ a ▁b",
    "\u00a0nbsp\u3000wide", "\ufeffbom", "\ufffd", "zero\u200bwidth", "\u2028line\u2029par",
    "ÀÉÎÕÜàéîõü ßẞ ﬁ ½", "a\rb\r\nc", "CamelCaseWords and snake_case_words", "https://example.org/a?b=c&d=%20",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "\U0010ffff", "!" * 33, "~`@#$%^&*()-_=+[]{}|;:'\",.<>/?\\",
    "the end of the tide is the beginning of the tide, the bell says it again and again",
]


def random_texts():
    """Letters of the corpus in any order: merges that compete in every way."""
    rng, out = random.Random(20260401), []
    letters = sorted(set(CORPUS)) + [" "] * 12 + list("etaoinshr") * 4
    for n, times in (3, 6), (10, 6), (30, 6), (100, 4), (300, 2), (1000, 1):
        for _ in range(times):
            out.append("".join(rng.choice(letters) for _ in range(n)))
    words = CORPUS.split()
    for n in (5, 20, 200):
        out.append(" ".join(rng.choice(words) for _ in range(n)))
        out.append("".join(rng.choice(words) for _ in range(n)))
    return out


def learn():
    corpus = os.path.join(HERE, "spm_corpus.tmp")
    with open(corpus, "w") as f:
        f.write(CORPUS)
    prefix = os.path.join(HERE, "spm_model.tmp")
    sentencepiece.SentencePieceTrainer.train(
        input=corpus, model_prefix=prefix, model_type="bpe", vocab_size=700, byte_fallback=True,
        character_coverage=0.98, user_defined_symbols=USER, pad_id=0, eos_id=1, bos_id=2, unk_id=3,
        pad_piece="<pad>", eos_piece="<eos>", bos_piece="<bos>", normalization_rule_name="identity",
        add_dummy_prefix=False, remove_extra_whitespaces=False, split_digits=True,
        allow_whitespace_only_pieces=True, hard_vocab_limit=False, minloglevel=2)
    with open(prefix + ".model", "rb") as f:
        model = pb.ModelProto.FromString(f.read())
    for name in corpus, prefix + ".model", prefix + ".vocab":
        os.unlink(name)
    return model


def write_vocabulary(model, path):
    """As converters write it: of user's pieces the spaces, of all others U+2581."""
    writer = gguf.GGUFWriter(path, "gemma3")
    user = pb.ModelProto.SentencePiece.USER_DEFINED
    writer.add_tokenizer_model("llama")
    writer.add_token_list([p.piece.replace("▁", " ") if p.type == user else p.piece
                           for p in model.pieces])
    writer.add_token_scores([p.score for p in model.pieces])
    writer.add_token_types([p.type for p in model.pieces])
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(3)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_vocabulary(path):
    fields = gguf.GGUFReader(path).fields
    model = pb.ModelProto()
    model.trainer_spec.model_type = pb.TrainerSpec.BPE
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.unk_id = 3
    model.trainer_spec.bos_id = 2
    model.trainer_spec.eos_id = 1
    model.trainer_spec.pad_id = 0
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = False
    model.normalizer_spec.remove_extra_whitespaces = False
    user = pb.ModelProto.SentencePiece.USER_DEFINED
    for i, (text, score, kind) in enumerate(zip(
            fields["tokenizer.ggml.tokens"].contents(), fields["tokenizer.ggml.scores"].contents(),
            fields["tokenizer.ggml.token_type"].contents())):
        piece = model.pieces.add()
        piece.piece = text.replace(" ", "▁") if kind == user else text
        piece.score = score
        # GGUF calls it control; sentencepiece wants exactly one unknown piece.
        piece.type = pb.ModelProto.SentencePiece.UNKNOWN if i == 3 else kind
    return model


def write_cases(model, path):
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
    cases = [{"text": text, "ids": [2] + processor.encode(text)} for text in TEXTS + random_texts()]
    with open(path, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
    print(path, len(cases), "texts", sum(len(c["ids"]) for c in cases), "ids")


def main():
    model = learn()
    write_vocabulary(model, os.path.join(HERE, "spm_vocab.gguf"))
    write_cases(model, os.path.join(HERE, "spm_cases.json"))
    if len(sys.argv) > 1:
        write_cases(read_vocabulary(sys.argv[1]), os.path.join(HERE, "spm_gemma_cases.json"))


main()
