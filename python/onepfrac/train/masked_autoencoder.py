"""The masked autoencoder: a timm ViT that sees some patches of an image, and a small decoder that paints the others.

He et al., *Masked Autoencoders Are Scalable Vision Learners*, CVPR 2022.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from timm.layers import build_sincos2d_pos_embed
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from onepfrac.train.models import build_model

__all__ = ["MaskedAutoencoder", "build_autoencoder", "normalise"]


def build_autoencoder(
    name: str, size: int, arguments: Mapping[str, Any], *, mask: float, dim: int, depth: int, heads: int, sincos: bool
) -> MaskedAutoencoder:
    """Make an autoencoder with fresh weights.

    Parameters
    ----------
    name, arguments
        The encoder in timm, a VisionTransformer with absolute position embeddings, and what it is made with.
    size
        Width and height of the images in pixels, a multiple of the patch's.
    mask
        Share of the patches that is hidden, rounded to whole patches.
    dim, depth, heads
        Width, blocks and heads of the decoder; ``dim`` is a multiple of 4 and of ``heads``.
    sincos
        Whether the encoder's position embeddings are sines and cosines and stay so; else they are learnt.

    Raises
    ------
    ValueError
        If one of them is not legal.
    """
    encoder = build_model(name, 0, size, arguments)
    if not isinstance(encoder, VisionTransformer) or encoder.pos_embed is None:
        raise ValueError(f"model must be a VisionTransformer of timm with position embeddings, got {name}")
    if any(size % side for side in encoder.patch_embed.patch_size):
        raise ValueError(f"size must be a multiple of the patch {encoder.patch_embed.patch_size}, got {size}")
    patches = encoder.patch_embed.num_patches
    visible = patches - round(mask * patches)
    if not 0 < visible < patches:
        raise ValueError(f"mask must leave some of {patches} patches and hide some, got {mask}")
    if sincos and encoder.embed_dim % 4:
        raise ValueError(f"position can be sincos where embed_dim is a multiple of 4, got {encoder.embed_dim}")
    if dim % 4 or dim % heads:
        raise ValueError(f"decoder_dim must be a multiple of 4 and of decoder_heads ({heads}), got {dim}")
    for unused in (encoder.fc_norm, encoder.attn_pool):  # of pooling models: they belong to the classifier
        if unused is not None:
            unused.requires_grad_(False)
    return MaskedAutoencoder(encoder, visible, dim, depth, heads, sincos)


class MaskedAutoencoder(nn.Module):
    """Encoder of visible patches, and a decoder that paints all; made by `build_autoencoder`.

    Each image has an order of its N patches, and the first ``visible`` ones are seen.
    """

    position: torch.Tensor

    def __init__(
        self, encoder: VisionTransformer, visible: int, dim: int, depth: int, heads: int, sincos: bool
    ) -> None:
        super().__init__()
        self.encoder, self.visible = encoder, visible
        self.grid, self.patch = encoder.patch_embed.grid_size, encoder.patch_embed.patch_size
        if sincos and encoder.pos_embed is not None:
            fixed = build_sincos2d_pos_embed(list(self.grid), encoder.embed_dim)
            encoder.pos_embed.requires_grad_(False).zero_()[0, -len(fixed) :] = fixed  # zero for a class token
        self.enter = nn.Linear(encoder.embed_dim, dim)
        self.hidden = nn.Parameter(0.02 * torch.randn(1, 1, dim))  # what stands where the encoder saw nothing
        self.register_buffer("position", build_sincos2d_pos_embed(list(self.grid), dim), persistent=False)
        self.blocks = nn.Sequential(*(Block(dim, heads, qkv_bias=True) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)
        self.paint = nn.Linear(dim, math.prod(self.patch) * 3)

    def no_weight_decay(self) -> set[str]:
        """Return the names of embeddings, for timm's optimizers."""
        return {"hidden", *(f"encoder.{name}" for name in self.encoder.no_weight_decay())}

    def patchify(self, images: torch.Tensor) -> torch.Tensor:
        """Cut images (B, 3, H, W) into patches (B, N, p * p * 3), row after row."""
        (rows, columns), (high, wide) = self.grid, self.patch
        parts = images.reshape(len(images), 3, rows, high, columns, wide)
        return parts.permute(0, 2, 4, 3, 5, 1).reshape(len(images), rows * columns, high * wide * 3)

    def unpatchify(self, patches: torch.Tensor) -> torch.Tensor:
        """Put patches (B, N, p * p * 3) together to images (B, 3, H, W)."""
        (rows, columns), (high, wide) = self.grid, self.patch
        parts = patches.reshape(len(patches), rows, columns, high, wide, 3)
        return parts.permute(0, 5, 1, 3, 2, 4).reshape(len(patches), 3, rows * high, columns * wide)

    def encode(self, images: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
        """Return the tokens (B, prefix + visible, D) of images (B, 3, H, W) of which ``order``, int64 (B, N), tells."""
        prefix = self.encoder.num_prefix_tokens
        tokens = self.encoder._pos_embed(self.encoder.patch_embed(images))
        seen = order[:, : self.visible, None].expand(-1, -1, tokens.shape[2])
        tokens = torch.cat([tokens[:, :prefix], tokens[:, prefix:].gather(1, seen)], 1)
        return self.encoder.norm(self.encoder.blocks(self.encoder.norm_pre(tokens)))  # type: ignore[no-any-return]

    def decode(self, tokens: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
        """Return the decoder's patches (B, N, p * p * 3) from what `encode` returns."""
        tokens, prefix = self.enter(tokens), self.encoder.num_prefix_tokens
        hidden = self.hidden.to(tokens.dtype).expand(len(tokens), order.shape[1] - self.visible, -1)
        patches = torch.cat([tokens[:, prefix:], hidden], 1)
        patches = patches.gather(1, order.argsort(1)[:, :, None].expand_as(patches)) + self.position
        tokens = self.blocks(torch.cat([tokens[:, :prefix], patches], 1))
        return self.paint(self.norm(tokens[:, prefix:]))  # type: ignore[no-any-return]

    def forward(self, images: torch.Tensor, order: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss and what `decode` does: the mean squared error over the hidden patches, each normalised."""
        painted = self.decode(self.encode(images, order), order).float()
        wanted = normalise(self.patchify(images))[0]
        hidden = torch.ones_like(order, dtype=torch.float32).scatter_(1, order[:, : self.visible], 0.0)
        return ((painted - wanted).square().mean(2) * hidden).sum() / hidden.sum(), painted

    @torch.no_grad()
    def reconstruct(self, images: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
        """Return images as they are, with hidden patches zero, and with hidden patches painted: (B, 3, 3, H, W).

        What is painted has mean 0 and variance 1 a patch; it is shown with mean and spread of the true patch.
        """
        true = self.patchify(images)
        _, mean, spread = normalise(true)
        painted = self(images, order)[1] * spread + mean
        seen = torch.zeros_like(order, dtype=torch.bool).scatter_(1, order[:, : self.visible], True)[:, :, None]
        parts = self.unpatchify(true.where(seen, 0.0)), self.unpatchify(true.where(seen, painted))
        return torch.stack([images, *parts], 1)


def normalise(patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return patches (B, N, values) at mean 0 and variance 1, their means and their standard deviations (B, N, 1).

    A patch of one gray becomes zeros.
    """
    mean, spread = patches.mean(2, keepdim=True), (patches.var(2, keepdim=True) + 1e-6).sqrt()
    return (patches - mean) / spread, mean, spread
