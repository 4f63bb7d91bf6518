"""A tiny cross-encoder with random weights, made on the spot."""

from __future__ import annotations

from pathlib import Path

from tests.stand_ins import make_tokenizer

#: Longest pair that it reads, in tokens.
WINDOW = 96


def make_cross_encoder(folder: Path, *, labels: int = 1) -> Path:
    """Make a BERT for sequence classification and a tokenizer, as a cross-encoder lies on the hub: its folder.

    Its weights are large, so that scores of different pairs differ.
    """
    import torch
    from tokenizers import Tokenizer, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    make_tokenizer(folder / "tokenizer.json")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ends = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    tokenizer.no_truncation()
    tokenizer.no_padding()
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    whole = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=WINDOW, model_input_names=inputs, **names
    )
    whole.save_pretrained(folder)
    torch.manual_seed(11)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=WINDOW,
        num_labels=labels,
        pad_token_id=0,
        initializer_range=0.5,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder
